import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { Button, type TableColumnsType } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, bodyOf } from '../api/client'
import type { Schemas } from '../api/contract'
import { apiKeysQuery } from '../api/queries'
import { useMay, useSession } from '../session/use-session'
import { Confirm } from '../shared/confirm'
import { Empty } from '../shared/empty'
import { Moment } from '../shared/moment'
import { Page } from '../shared/page'
import { Badge } from '../shared/state'
import { List } from '../shared/table'
import { useAction } from '../shared/use-action'
import { AccessTabs } from './tabs'
import { keyState } from './key-state'
import { NewKey } from './new-key'
import { Reach } from './reach'

type ApiKey = Schemas['ApiKey']

export function AccessPage() {
  const { t } = useTranslation('access')
  const may = useMay()
  const { page } = useSearch({ from: '/access' })
  const navigate = useNavigate({ from: '/access' })
  const { data, error, isFetching, refetch } = useQuery(apiKeysQuery(page))
  const [making, setMaking] = useState(false)
  const [revoking, setRevoking] = useState<ApiKey | null>(null)
  const columns = useColumns(setRevoking)
  return (
    <Page
      title={t('title')}
      lead={t('lead')}
      actions={
        may('key:write') ? (
          <Button type="primary" onClick={() => setMaking(true)}>
            {t('new.action')}
          </Button>
        ) : null
      }
    >
      <AccessTabs />
      <List
        label={t('keys')}
        columns={columns}
        rows={data?.list}
        rowKey={(key) => String(key.id)}
        loading={isFetching}
        error={error}
        retry={() => void refetch()}
        {...(data ? { total: data.total } : {})}
        page={page ?? 1}
        onPage={(next) => void navigate({ search: { page: next } })}
        empty={<Empty title={t('empty')} />}
      />
      {making ? <NewKey onClose={() => setMaking(false)} /> : null}
      <Revoke apiKey={revoking} onClose={() => setRevoking(null)} />
    </Page>
  )
}

function useColumns(revoke: (key: ApiKey) => void): TableColumnsType<ApiKey> {
  const { t } = useTranslation('access')
  const may = useMay()
  const session = useSession()
  return [
    {
      title: t('columns.name'),
      key: 'name',
      render: (_, key) => (
        <>
          <span className="name">{key.name}</span>{' '}
          {key.name === session.caller ? <span className="hint">{t('yours')}</span> : null}
          {key.hint ? (
            <div className="hint">
              <code>{key.hint}…</code>
            </div>
          ) : null}
        </>
      ),
    },
    {
      title: t('columns.state'),
      key: 'state',
      render: (_, key) => {
        const state = keyState(key, Date.now())
        return (
          <>
            <Badge tone={state.tone}>{t(`states.${state.word}`)}</Badge>
            {key.expires_at && state.word === 'good' ? (
              <div className="hint">
                {t('until')} <Moment at={key.expires_at} />
              </div>
            ) : null}
          </>
        )
      },
    },
    {
      title: t('columns.scopes'),
      key: 'scopes',
      responsive: ['md'],
      render: (_, key) => (
        <>
          <div className="cell-text">{key.scopes.join(', ')}</div>
          <Reach realms={key.realms} keys={key.keys} />
        </>
      ),
    },
    { title: t('columns.created'), key: 'created', responsive: ['lg'], render: (_, key) => <Moment at={key.created_at} /> },
    {
      title: t('columns.actions'),
      key: 'actions',
      render: (_, key) => (
        <div className="cell-actions">
          {may('audit:read') ? (
            <Link to="/audit" search={{ actor: key.name }}>
              {t('uses')}
            </Link>
          ) : null}
          {key.revoked_at ? null : (
            <Button size="small" danger aria-label={t('revoke.of', { name: key.name })} onClick={() => revoke(key)}>
              {t('revoke.action')}
            </Button>
          )}
        </div>
      ),
    },
  ]
}

function Revoke({ apiKey, onClose }: { apiKey: ApiKey | null; onClose: () => void }) {
  const { t } = useTranslation('access')
  const session = useSession()
  const revoke = useAction<ApiKey>({
    run: (key) => bodyOf(api.DELETE('/api/api-key/{id}', { params: { path: { id: key.id } } })),
    changes: ['api-keys'],
    done: (_, key) => t('revoke.done', { name: key.name }),
    after: onClose,
  })
  return (
    <Confirm
      open={apiKey !== null}
      danger
      title={t('revoke.title', { name: apiKey?.name ?? '' })}
      confirm={t('revoke.action')}
      busy={revoke.isPending}
      onConfirm={() => apiKey && revoke.mutate(apiKey)}
      onClose={onClose}
    >
      <p>{t('revoke.text')}</p>
      {apiKey?.name === session.caller ? <p className="bad">{t('revoke.own')}</p> : null}
    </Confirm>
  )
}
