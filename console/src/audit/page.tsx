import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import type { TableColumnsType } from 'antd'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { auditQuery } from '../api/queries'
import { Empty } from '../shared/empty'
import { Filters, TextFilter } from '../shared/filters'
import { Moment } from '../shared/moment'
import { Page } from '../shared/page'
import { Badge } from '../shared/state'
import { List } from '../shared/table'
import { fromLocalInput } from '../shared/time'
import { Entry } from './entry'
import { Export } from './export'

/** Who did what, and what was denied. */
export function AuditPage() {
  const { t } = useTranslation('audit')
  const search = useSearch({ from: '/audit' })
  const navigate = useNavigate({ from: '/audit' })
  const filter = {
    actor: search.actor,
    action: search.action,
    target: search.target,
    since: fromLocalInput(search.since ?? '') ?? undefined,
    until: fromLocalInput(search.until ?? '') ?? undefined,
  }
  const { data, error, isFetching, refetch } = useQuery(auditQuery({ ...filter, page: search.page }))
  const set = (changed: Partial<typeof search>) =>
    void navigate({ search: { ...search, page: undefined, ...changed }, replace: true })
  const filtered = Object.values(filter).some((value) => value !== undefined)
  return (
    <Page title={t('title')} lead={t('lead')} actions={<Export filter={filter} total={data?.total ?? 0} />}>
      <Filters label={t('filter')}>
        <TextFilter label={t('actor')} value={search.actor} onChange={(actor) => set({ actor })} />
        <TextFilter label={t('action')} value={search.action} onChange={(action) => set({ action })} />
        <TextFilter label={t('target')} value={search.target} onChange={(target) => set({ target })} />
        <TextFilter type="datetime-local" label={t('since')} value={search.since} onChange={(since) => set({ since })} />
        <TextFilter type="datetime-local" label={t('until')} value={search.until} onChange={(until) => set({ until })} />
      </Filters>
      <List
        label={t('title')}
        columns={useColumns()}
        rows={data?.list}
        rowKey={(entry) => String(entry.id)}
        loading={isFetching}
        error={error}
        retry={() => void refetch()}
        {...(data ? { total: data.total } : {})}
        page={search.page ?? 1}
        onPage={(page) => void navigate({ search: { ...search, page } })}
        expanded={(entry) => <Entry entry={entry} />}
        empty={
          filtered ? (
            <Empty title={t('noMatch')}>
              <Link to="/audit" search={{}}>
                {t('showAll')}
              </Link>
            </Empty>
          ) : (
            <Empty title={t('empty')} />
          )
        }
      />
      <p className="hint">{t('verify')}</p>
    </Page>
  )
}

function useColumns(): TableColumnsType<Schemas['AuditEntry']> {
  const { t } = useTranslation('audit')
  return [
    { title: t('columns.at'), key: 'at', render: (_, entry) => <Moment at={entry.at} /> },
    {
      title: t('action'),
      key: 'action',
      render: (_, entry) => (
        <>
          <code>{entry.action}</code>
          {entry.count > 1 ? <span className="hint"> × {entry.count}</span> : null}
          {entry.outcome === 'denied' ? (
            <div>
              <Badge tone="bad">{t('denied')}</Badge>
            </div>
          ) : null}
        </>
      ),
    },
    {
      title: t('target'),
      key: 'target',
      render: (_, entry) => <span className="cell-text">{entry.target}</span>,
    },
    {
      title: t('actor'),
      key: 'actor',
      responsive: ['md'],
      render: (_, entry) => entry.actor ?? <span className="hint">{t('nobody')}</span>,
    },
  ]
}
