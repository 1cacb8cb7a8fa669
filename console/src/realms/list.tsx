import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import type { TableColumnsType } from 'antd'
import { useTranslation } from 'react-i18next'
import type { Overview, Realm } from '../api/contract'
import { overviewQuery, realmsQuery } from '../api/queries'
import { useMay } from '../session/use-session'
import { Empty } from '../shared/empty'
import { Filters, TextFilter } from '../shared/filters'
import { Moment } from '../shared/moment'
import { Page } from '../shared/page'
import { Badge } from '../shared/state'
import { List } from '../shared/table'
import { healthOf } from './health'

export function RealmsPage() {
  const { t } = useTranslation('realms')
  const may = useMay()
  const search = useSearch({ from: '/realms' })
  const navigate = useNavigate({ from: '/realms' })
  const { data, error, isFetching, refetch } = useQuery(realmsQuery(search))
  const { data: overview } = useQuery({ ...overviewQuery, enabled: may('secret:read') })
  const columns: TableColumnsType<Realm> = [
    {
      title: t('columns.id'),
      key: 'id',
      render: (_, realm) => (
        <>
          <Link to="/realms/$id" params={{ id: realm.id }} className="name">
            {realm.id}
          </Link>
          {realm.comment ? <div className="hint">{realm.comment}</div> : null}
        </>
      ),
    },
    { title: t('columns.health'), key: 'health', render: (_, realm) => <Health realm={realm} overview={overview} /> },
    { title: t('columns.kind'), key: 'kind', responsive: ['md'], render: (_, realm) => t(`kinds.${kindOf(realm)}`) },
    { title: t('columns.updated'), key: 'updated', responsive: ['lg'], render: (_, realm) => <Moment at={realm.updated_at} /> },
    { title: t('columns.version'), key: 'version', responsive: ['lg'], align: 'right', dataIndex: 'version' },
  ]
  const add = may('realm:write') ? (
    <Link className="button" to="/new-realm">
      {t('new')}
    </Link>
  ) : null
  return (
    <Page title={t('title')} lead={t('lead')} actions={add}>
      <Filters label={t('filter')}>
        <TextFilter
          label={t('search')}
          value={search.text}
          onChange={(text) => void navigate({ search: { text }, replace: true })}
        />
      </Filters>
      <List
        label={t('title')}
        columns={columns}
        rows={data?.list}
        rowKey={(realm) => realm.id}
        loading={isFetching}
        error={error}
        retry={() => void refetch()}
        {...(data ? { total: data.total } : {})}
        page={search.page ?? 1}
        onPage={(page) => void navigate({ search: { ...search, page } })}
        empty={search.text ? <Empty title={t('noMatch')} /> : <Empty title={t('empty')}>{add ?? t('emptyNotAllowed')}</Empty>}
      />
    </Page>
  )
}

function Health({ realm, overview }: { realm: Realm; overview: Overview | undefined }) {
  const { t } = useTranslation('realms')
  const health = healthOf(realm, overview, Date.now())
  return (
    <Badge tone={health.tone} {...(realm.unreadable ? { hint: realm.unreadable } : {})}>
      {t(`health.${health.word}`, { count: health.count })}
    </Badge>
  )
}

function kindOf(realm: Realm): 'provider' | 'logic' | 'fixed' {
  if (realm.config) return 'provider'
  return realm.logic_code ? 'logic' : 'fixed'
}
