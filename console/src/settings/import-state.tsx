import { useTranslation } from 'react-i18next'
import type { Settings } from '../api/contract'

/** How far an import of another server is. */
export function ImportState({ state }: { state: NonNullable<Settings['import']> }) {
  const { t } = useTranslation('settings')
  const text = t('import.progress', { copied: state.copied, total: state.total, failed: state.failed })
  return (
    <section className="card" aria-labelledby="import">
      <h2 id="import">{t('import.title')}</h2>
      <p>
        {t('import.from')} <code>{state.from}</code> · {state.state}
      </p>
      <progress aria-label={text} max={Math.max(1, state.total)} value={state.copied} />
      <p>{text}</p>
    </section>
  )
}
