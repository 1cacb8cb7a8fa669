import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { lazy, Suspense } from 'react'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { renewalsQuery } from '../api/queries'
import { Empty } from '../shared/empty'
import { ChoiceFilter, Filters, TextFilter } from '../shared/filters'
import { Page } from '../shared/page'
import { RunNow } from './run-now'
import { RenewalTable } from './table'

const Plots = lazy(() => import('./plots'))
const OUTCOMES = ['stored', 'failed', 'discarded'] as const satisfies readonly Schemas['RenewalOutcome'][]

export function RenewalsPage() {
  const { t } = useTranslation('renewals')
  const search = useSearch({ from: '/renewals' })
  const navigate = useNavigate({ from: '/renewals' })
  const outcome = OUTCOMES.find((name) => name === search.outcome)
  const { data, error, isFetching, refetch } = useQuery(renewalsQuery({ ...search, outcome }))
  const filter = (changed: Partial<typeof search>) =>
    void navigate({ search: { ...search, page: undefined, ...changed }, replace: true })
  const filtered = Boolean(search.realm ?? search.key ?? outcome)
  return (
    <Page title={t('title')} lead={t('lead')} actions={<RunNow realm={search.realm} />}>
      <Filters label={t('filter')}>
        <TextFilter label={t('realm')} value={search.realm} onChange={(realm) => filter({ realm })} />
        <TextFilter label={t('key')} value={search.key} onChange={(key) => filter({ key })} />
        <ChoiceFilter
          label={t('outcome')}
          all={t('allOutcomes')}
          value={outcome}
          options={OUTCOMES.map((value) => ({ value, label: t(`outcomes.${value}`) }))}
          onChange={(value) => filter({ outcome: value })}
        />
      </Filters>
      {data && data.total > 0 ? (
        <Suspense fallback={null}>
          <Plots realm={search.realm} secretKey={search.key} outcome={outcome} />
        </Suspense>
      ) : null}
      <RenewalTable
        label={t('title')}
        rows={data?.list}
        error={error}
        retry={() => void refetch()}
        loading={isFetching}
        {...(data ? { total: data.total } : {})}
        page={search.page ?? 1}
        onPage={(page) => void navigate({ search: { ...search, page } })}
        empty={
          filtered ? (
            <Empty title={t('noMatch')}>
              <Link to="/renewals" search={{}}>
                {t('showAll')}
              </Link>
            </Empty>
          ) : (
            <Empty title={t('empty')}>
              <Link to="/secrets">{t('emptyNext')}</Link>
            </Empty>
          )
        }
      />
    </Page>
  )
}
