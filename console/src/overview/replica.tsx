import { useTranslation } from 'react-i18next'
import type { Replica } from '../api/contract'
import { Badge } from '../shared/state'
import { duration } from '../shared/time'
import { replicaTone } from './replica-tone'

/** The server that answered: whether it keeps up, and agrees on the time. */
export function ThisReplica({ replica }: { replica: Replica }) {
  const { t, i18n } = useTranslation('overview')
  const { tone, word } = replicaTone(replica)
  const time = (ms: number) => duration(Math.abs(ms), i18n.language)
  return (
    <section className="card" aria-labelledby="replica">
      <div className="card-head">
        <h2 id="replica">{t('replica.title')}</h2>
        <Badge tone={tone}>{t(`replica.${word}`)}</Badge>
      </div>
      <p>
        <span className="name">{replica.name}</span> <span className="hint">{replica.version}</span>
      </p>
      {replica.lag_ms === null ? null : <p className="hint">{t('replica.lag', { time: time(replica.lag_ms) })}</p>}
      {replica.clock_offset_ms === null ? null : (
        <p className="hint">{t('replica.clock', { time: time(replica.clock_offset_ms) })}</p>
      )}
    </section>
  )
}
