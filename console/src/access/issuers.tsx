import { useQuery } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { Button, type TableColumnsType } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, bodyOf } from '../api/client'
import type { Schemas } from '../api/contract'
import { issuersQuery } from '../api/queries'
import { Confirm } from '../shared/confirm'
import { Empty } from '../shared/empty'
import { Moment } from '../shared/moment'
import { Page } from '../shared/page'
import { Badge } from '../shared/state'
import { List } from '../shared/table'
import { useAction } from '../shared/use-action'
import { EditIssuer } from './edit-issuer'
import { AccessTabs } from './tabs'

type Issuer = Schemas['Issuer']

/** Whose JWTs let callers in. */
export function IssuersPage() {
  const { t } = useTranslation('access')
  const { page } = useSearch({ from: '/issuers' })
  const navigate = useNavigate({ from: '/issuers' })
  const { data, error, isFetching, refetch } = useQuery(issuersQuery(page))
  const [edited, setEdited] = useState<Issuer | 'new' | null>(null)
  const [deleted, setDeleted] = useState<Issuer | null>(null)
  const add = (
    <Button type="primary" onClick={() => setEdited('new')}>
      {t('issuers.new')}
    </Button>
  )
  const remove = useAction<Issuer>({
    run: (issuer) => bodyOf(api.DELETE('/api/issuer/{name}', { params: { path: { name: issuer.name } } })),
    changes: ['issuers'],
    done: (_, issuer) => t('issuers.deleted', { name: issuer.name }),
    after: () => setDeleted(null),
  })
  const columns: TableColumnsType<Issuer> = [
    {
      title: t('columns.name'),
      key: 'name',
      render: (_, issuer) => (
        <>
          <span className="name">{issuer.name}</span>
          <div className="hint cell-text">{issuer.issuer}</div>
          {issuer.unreadable ? <Badge tone="bad">{t('issuers.unreadable')}</Badge> : null}
        </>
      ),
    },
    {
      title: t('issuers.rules'),
      key: 'rules',
      responsive: ['md'],
      render: (_, issuer) => t('issuers.ruleCount', { count: issuer.rules?.length ?? 0 }),
    },
    { title: t('issuers.updated'), key: 'updated', responsive: ['lg'], render: (_, issuer) => <Moment at={issuer.updated_at} /> },
    {
      title: t('columns.actions'),
      key: 'actions',
      render: (_, issuer) => (
        <div className="cell-actions">
          <Button size="small" aria-label={t('issuers.editOf', { name: issuer.name })} onClick={() => setEdited(issuer)}>
            {t('issuers.edit')}
          </Button>
          <Button size="small" danger aria-label={t('issuers.deleteOf', { name: issuer.name })} onClick={() => setDeleted(issuer)}>
            {t('issuers.delete')}
          </Button>
        </div>
      ),
    },
  ]
  return (
    <Page title={t('title')} lead={t('issuers.lead')} actions={add}>
      <AccessTabs />
      <List
        label={t('issuers.title')}
        columns={columns}
        rows={data?.list}
        rowKey={(issuer) => issuer.name}
        loading={isFetching}
        error={error}
        retry={() => void refetch()}
        {...(data ? { total: data.total } : {})}
        page={page ?? 1}
        onPage={(next) => void navigate({ search: { page: next } })}
        empty={<Empty title={t('issuers.empty')}>{add}</Empty>}
      />
      {edited ? <EditIssuer issuer={edited === 'new' ? null : edited} onClose={() => setEdited(null)} /> : null}
      <Confirm
        open={deleted !== null}
        danger
        title={t('issuers.deleteOf', { name: deleted?.name ?? '' })}
        confirm={t('issuers.delete')}
        busy={remove.isPending}
        onConfirm={() => deleted && remove.mutate(deleted)}
        onClose={() => setDeleted(null)}
      >
        <p>{t('issuers.deleteText')}</p>
      </Confirm>
    </Page>
  )
}
