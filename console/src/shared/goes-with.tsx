import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'

/** What goes with a deletion, as the server counts it; nothing where nothing does. */
export function GoesWith({ deleted }: { deleted: Schemas['Deleted'] }) {
  const { t } = useTranslation()
  const counts = [
    t('goesWith.tokens', { count: deleted.tokens }),
    deleted.refresh_tokens > 0 ? t('goesWith.refreshTokens', { count: deleted.refresh_tokens }) : null,
    deleted.candidates > 0 ? t('goesWith.candidates', { count: deleted.candidates }) : null,
    deleted.tickets > 0 ? t('goesWith.tickets', { count: deleted.tickets }) : null,
  ].filter((text) => text !== null)
  const more = deleted.secrets - deleted.keys.length
  return (
    <>
      {deleted.secrets > 1 ? (
        <p>
          <code>{deleted.keys.join(', ')}</code>
          {more > 0 ? ` ${t('goesWith.more', { count: more })}` : null}
        </p>
      ) : null}
      {deleted.secrets > 0 ? (
        <ul>
          {counts.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      ) : null}
    </>
  )
}
