import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import type { TableColumnsType } from 'antd'
import { useTranslation } from 'react-i18next'
import type { Secret } from '../api/contract'
import { realmsQuery, secretsQuery } from '../api/queries'
import { useMay } from '../session/use-session'
import { Empty } from '../shared/empty'
import { ChoiceFilter, Filters, TextFilter } from '../shared/filters'
import { Distance } from '../shared/moment'
import { Page } from '../shared/page'
import { State, STATES } from '../shared/state'
import { List } from '../shared/table'

/** Realms that the filter offers; others are found by their name in the path. */
const OFFERED = 200

export function SecretsPage() {
  const { t } = useTranslation(['secrets', 'common'])
  const may = useMay()
  const search = useSearch({ from: '/secrets' })
  const navigate = useNavigate({ from: '/secrets' })
  const state = STATES.find((name) => name === search.state)
  const { data, error, isFetching, refetch } = useQuery(secretsQuery({ ...search, state }))
  const { data: realms } = useQuery({ ...realmsQuery({ pageSize: OFFERED }), enabled: may('realm:read') })
  const filter = (changed: Partial<typeof search>) =>
    void navigate({ search: { ...search, page: undefined, ...changed }, replace: true })
  const names = new Set([...(realms?.list.map((realm) => realm.id) ?? []), ...(search.realm ? [search.realm] : [])])
  const add = may('secret:write') ? (
    <Link className="button" to="/new-secret" search={{ realm: search.realm }}>
      {t('new')}
    </Link>
  ) : null
  const filtered = Boolean(search.realm ?? search.state ?? search.text)
  return (
    <Page title={t('title')} lead={t('lead')} actions={add}>
      <Filters label={t('filter')}>
        <ChoiceFilter
          label={t('realm')}
          all={t('allRealms')}
          value={search.realm}
          options={[...names].sort().map((value) => ({ value, label: value }))}
          onChange={(realm) => filter({ realm })}
        />
        <ChoiceFilter
          label={t('state')}
          all={t('allStates')}
          value={state}
          options={STATES.map((value) => ({ value, label: t(`common:states.${value}`) }))}
          onChange={(value) => filter({ state: value })}
        />
        <TextFilter label={t('search')} value={search.text} onChange={(text) => filter({ text })} />
      </Filters>
      <List
        label={t('title')}
        columns={useColumns()}
        rows={data?.list}
        rowKey={(secret) => JSON.stringify([secret.realm, secret.key])}
        loading={isFetching}
        error={error}
        retry={() => void refetch()}
        {...(data ? { total: data.total } : {})}
        page={search.page ?? 1}
        onPage={(page) => void navigate({ search: { ...search, page } })}
        empty={
          filtered ? (
            <Empty title={t('noMatch')}>
              <Link to="/secrets" search={{}}>
                {t('showAll')}
              </Link>
            </Empty>
          ) : (
            <Empty title={t('empty')}>{add ?? t('emptyNotAllowed')}</Empty>
          )
        }
      />
    </Page>
  )
}

function useColumns(): TableColumnsType<Secret> {
  const { t } = useTranslation(['secrets', 'common'])
  return [
    {
      title: t('columns.secret'),
      key: 'secret',
      render: (_, secret) => (
        <Link to="/secrets/$realm/$key" params={{ realm: secret.realm, key: secret.key }} className="name">
          {secret.realm} / {secret.key}
        </Link>
      ),
    },
    {
      title: t('state'),
      key: 'state',
      render: (_, secret) => (
        <>
          <State state={secret.state} />
          {secret.last_error ? (
            <div className="cell-text hint" lang="en" title={secret.last_error.detail}>
              {secret.last_error.detail}
            </div>
          ) : null}
        </>
      ),
    },
    { title: t('columns.expires'), key: 'expires', responsive: ['md'], render: (_, secret) => <Expiry secret={secret} /> },
    {
      title: t('columns.renewal'),
      key: 'renewal',
      responsive: ['lg'],
      render: (_, secret) => (secret.renew_at ? <Distance at={secret.renew_at} /> : <span className="hint">-</span>),
    },
    { title: t('columns.generation'), key: 'generation', responsive: ['lg'], align: 'right', dataIndex: 'generation' },
  ]
}

function Expiry({ secret }: { secret: Secret }) {
  const { t } = useTranslation(['secrets', 'common'])
  if (secret.generation === 0) return <span className="hint">{t('noTokenYet')}</span>
  return <Distance at={secret.expires_at} />
}
