import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { renewalsQuery } from '../api/queries'
import { Bars } from '../shared/bars'
import { duration } from '../shared/time'
import { CLASS_TONES, classesOver, durationsOf } from './plotted'
import { Scatter } from './scatter'

/** As many attempts as the plots are made of, the latest. */
const PLOTTED = 500
/** Within less than this, minutes would all be the same. */
const WITH_SECONDS_MS = 10 * 60_000

interface Props {
  realm: string | undefined
  secretKey: string | undefined
  outcome: Schemas['RenewalOutcome'] | undefined
}

/** How long attempts took, and how they failed over time. */
export default function Plots({ realm, secretKey, outcome }: Props) {
  const { t, i18n } = useTranslation(['renewals', 'common'])
  const { data } = useQuery(renewalsQuery({ realm, key: secretKey, outcome, pageSize: PLOTTED }))
  if (!data || data.list.length < 2) return null
  const durations = durationsOf(data.list)
  const failures = classesOver(data.list, 24)
  const time = (ms: number) => duration(ms, i18n.language)
  const short = new Intl.DateTimeFormat(i18n.language, {
    ...(durations.to - durations.from < WITH_SECONDS_MS ? { second: '2-digit' } : { month: 'numeric', day: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const failed = failures.classes.length > 0
  return (
    <div className="columns">
      <section className="card" aria-labelledby="durations">
        <h2 id="durations">{t('plots.durations')}</h2>
        <p className="hint">
          {t('plots.summary', {
            count: data.list.length,
            median: time(durations.median),
            most: time(durations.p95),
          })}
        </p>
        <Scatter
          label={t('plots.durationsLabel', { median: time(durations.median), most: time(durations.p95) })}
          points={durations.points}
          top={time(durations.highest)}
          from={short.format(durations.from)}
          to={short.format(durations.to)}
        />
      </section>
      <section className="card" aria-labelledby="classes">
        <h2 id="classes">{t('plots.classes')}</h2>
        {failed ? (
          <Bars
            label={t('plots.classesLabel')}
            series={failures.classes.map((name) => ({ name: t(`common:classes.${name}`), tone: CLASS_TONES[name] }))}
            bars={failures.slots.map((slot) => ({ name: short.format(slot.from), values: slot.counts }))}
          />
        ) : (
          <p className="hint">{t('plots.noFailures')}</p>
        )}
      </section>
    </div>
  )
}
