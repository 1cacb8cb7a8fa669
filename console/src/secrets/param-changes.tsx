import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'

/** What saving a secret would change, as the server says it: masked where it is secret. */
export function ParamChanges({ changes }: { changes: Schemas['SecretChanges'] }) {
  const { t } = useTranslation('secrets')
  if (changes.outcome === 'unchanged') return <p>{t('form.same')}</p>
  return (
    <ul>
      {changes.params.map(({ name, before, after }) => (
        <li key={name}>
          <code>{name}</code>: <code>{before ?? '-'}</code> → <code>{after ?? '-'}</code>
        </li>
      ))}
      {changes.token ? <li>{t('form.otherToken')}</li> : null}
    </ul>
  )
}
