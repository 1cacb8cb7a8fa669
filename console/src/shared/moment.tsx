import { useTranslation } from 'react-i18next'
import { inWords, localTime, utcTime } from './time'
import { useNow } from './use-now'

/** A time in the reader's zone, in UTC on hover. */
export function Moment({ at }: { at: string | null | undefined }) {
  const { i18n, t } = useTranslation()
  if (!at) return <span className="hint">{t('never')}</span>
  return (
    <time dateTime={at} title={utcTime(at)}>
      {localTime(at, i18n.language)}
    </time>
  )
}

/** How long ago or ahead a time is; it goes on by itself. */
export function Distance({ at }: { at: string | null | undefined }) {
  const { i18n, t } = useTranslation()
  const now = useNow()
  if (!at) return <span className="hint">{t('never')}</span>
  return (
    <time dateTime={at} title={`${localTime(at, i18n.language)} · ${utcTime(at)}`}>
      {inWords(Date.parse(at) - now, i18n.language)}
    </time>
  )
}
