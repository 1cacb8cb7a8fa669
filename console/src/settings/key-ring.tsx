import { useTranslation } from 'react-i18next'
import type { Settings } from '../api/contract'
import { Code } from '../shared/copy'
import { Badge } from '../shared/state'

/** The keys that what is stored is sealed with, and how to change to another. */
export function KeyRing({ keys }: { keys: Settings['sealing_keys'] }) {
  const { t, i18n } = useTranslation('settings')
  const number = new Intl.NumberFormat(i18n.language)
  return (
    <section className="card" aria-labelledby="ring">
      <h2 id="ring">{t('ring.title')}</h2>
      <table className="plain-table">
        <thead>
          <tr>
            <th scope="col">{t('ring.id')}</th>
            <th scope="col">{t('ring.use')}</th>
            <th scope="col">{t('ring.values')}</th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.id}>
              <th scope="row">
                <code>{key.id}</code>
              </th>
              <td>{key.seals ? <Badge tone="good">{t('ring.seals')}</Badge> : <Badge tone="calm">{t('ring.opens')}</Badge>}</td>
              <td>{number.format(key.values)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p>{t('ring.rotate')}</p>
      <Code text="token-server rotate-key" label={t('ring.command')} />
    </section>
  )
}
