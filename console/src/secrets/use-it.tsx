import { useTranslation } from 'react-i18next'
import { Code } from '../shared/copy'
import { curlOf } from '../access/snippets'

/** How an application asks for this token. */
export function UseIt({ realm, secretKey }: { realm: string; secretKey: string }) {
  const { t } = useTranslation('secrets')
  return (
    <section className="card" aria-labelledby="use">
      <h2 id="use">{t('use.title')}</h2>
      <p>{t('use.lead')}</p>
      <Code text={curlOf(location.origin, realm, secretKey)} label="curl" />
      <p className="hint">{t('use.units')}</p>
    </section>
  )
}
