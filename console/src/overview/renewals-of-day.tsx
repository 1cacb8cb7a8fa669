import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { RenewalHour } from '../api/contract'
import { Bars } from '../shared/bars'
import { dayOf } from './day'

/** Renewals and failures of the last 24 hours. */
export function RenewalsOfDay({ hours, at }: { hours: readonly RenewalHour[]; at: string }) {
  const { t, i18n } = useTranslation('overview')
  const sum = (name: 'stored' | 'failed' | 'discarded') => hours.reduce((all, hour) => all + hour[name], 0)
  const stored = sum('stored')
  const failed = sum('failed')
  const hour = new Intl.DateTimeFormat(i18n.language, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  const number = new Intl.NumberFormat(i18n.language)
  return (
    <section className="card" aria-labelledby="renewals">
      <h2 id="renewals">{t('renewals.title')}</h2>
      <p className="figures">
        <span>
          <strong>{number.format(stored)}</strong> {t('renewals.stored')}
        </span>
        <span className={failed > 0 ? 'bad' : ''}>
          <strong>{number.format(failed)}</strong> {t('renewals.failed')}
        </span>
      </p>
      <Bars
        label={t('renewals.plot', { stored, failed })}
        series={[
          { name: t('renewals.stored'), tone: 'good' },
          { name: t('renewals.failed'), tone: 'bad' },
        ]}
        bars={dayOf(hours, Date.parse(at)).map((one) => ({ name: hour.format(one.begunAt), values: [one.stored, one.failed] }))}
      />
      <p>
        <Link to="/renewals">{t('renewals.all')}</Link>
      </p>
    </section>
  )
}
