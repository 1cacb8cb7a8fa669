import { useQuery } from '@tanstack/react-query'
import { Link, Navigate } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { overviewQuery, realmsQuery } from '../api/queries'
import { useMay } from '../session/use-session'
import { Page } from '../shared/page'
import { ProblemNotice } from '../shared/problem-notice'
import { Waiting } from '../shared/waiting'
import { Counts } from './counts'
import { FailingList } from './failing'
import { NextDue } from './next-due'
import { RenewalsOfDay } from './renewals-of-day'
import { ThisReplica } from './replica'

/** What an operator looks at first: what fails, and whether all goes on. */
export function OverviewPage() {
  const { t } = useTranslation(['overview', 'common'])
  const may = useMay()
  const { data, error, refetch } = useQuery({ ...overviewQuery, enabled: may('secret:read') })
  const { data: realms } = useQuery({ ...realmsQuery({ pageSize: 1 }), enabled: may('realm:read') })
  if (!may('secret:read')) {
    return (
      <Page title={t('title')}>
        <p>{t('notAllowed')}</p>
      </Page>
    )
  }
  if (realms?.total === 0 && may('realm:write') && may('secret:write')) return <Navigate to="/start" replace />
  return (
    <Page
      title={t('title')}
      lead={
        data?.states && realms
          ? t('lead', { count: total(data.states), realms: t('realms', { count: realms.total }) })
          : null
      }
      actions={
        may('realm:write') ? (
          <Link className="button" to="/new-realm">
            {t('addProvider')}
          </Link>
        ) : null
      }
    >
      {error ? <ProblemNotice error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Waiting label={t('common:loading')} /> : null}
      {data ? (
        <>
          {data.states ? <Counts states={data.states} /> : null}
          <FailingList failing={data.failing} states={data.states} />
          <div className="columns">
            {data.hours ? <RenewalsOfDay hours={data.hours} at={data.read_at} /> : null}
            <NextDue due={data.due} />
            <ThisReplica replica={data.replica} />
          </div>
        </>
      ) : null}
    </Page>
  )
}

function total(states: readonly { secrets: number }[]): number {
  return states.reduce((sum, { secrets }) => sum + secrets, 0)
}
