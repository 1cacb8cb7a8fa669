import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Secret } from '../api/contract'
import { codeOf } from '../api/problem'
import { renewalsQuery, secretQuery } from '../api/queries'
import { useMay } from '../session/use-session'
import { LifeBar } from '../shared/life-bar'
import { Moment } from '../shared/moment'
import { Page } from '../shared/page'
import { ProblemNotice } from '../shared/problem-notice'
import { State } from '../shared/state'
import { Waiting } from '../shared/waiting'
import { RenewalTable } from '../renewals/table'
import { SecretActions } from './actions'
import { LastError } from './last-error'
import { MaskedParams } from './masked-params'
import { TokenValue } from './token-value'
import { UseIt } from './use-it'

const HISTORY = 10

export function SecretPage() {
  const { t } = useTranslation(['secrets', 'common'])
  const { realm, key } = useParams({ from: '/secrets/$realm/$key' })
  const may = useMay()
  const { data: secret, error, refetch } = useQuery(secretQuery(realm, key))
  const history = useQuery(renewalsQuery({ realm, key, pageSize: HISTORY }))
  const gone = codeOf(error) === 'unknown_secret'
  const stored = history.data?.list.find((one) => one.outcome === 'stored')
  return (
    <Page
      title={`${realm} / ${key}`}
      above={
        <Link to="/secrets" search={{ realm }}>
          {t('title')}
        </Link>
      }
      actions={secret ? <SecretActions secret={secret} /> : null}
    >
      {error ? <ProblemNotice error={error} {...(gone ? {} : { retry: () => void refetch() })} /> : null}
      {!secret && !error ? <Waiting label={t('common:loading')} /> : null}
      {secret && !gone ? (
        <>
          <section className="card" aria-labelledby="token">
            <div className="card-head">
              <h2 id="token">{t('token.title')}</h2>
              <State state={secret.state} />
            </div>
            <LifeBar
              from={stored && stored.generation === secret.generation ? stored.started_at : secret.last_attempt_at}
              renewAt={secret.renew_at}
              expiresAt={secret.expires_at}
            />
            <Facts secret={secret} />
            {may('token:read', realm, key) ? null : <p className="hint">{t('token.notAllowed')}</p>}
            {may('token:read', realm, key) && secret.generation > 0 ? (
              <TokenValue realm={realm} secretKey={key} generation={secret.generation} />
            ) : null}
          </section>
          <LastError secret={secret} />
          <div className="columns">
            <MaskedParams secret={secret} />
            <UseIt realm={realm} secretKey={key} />
          </div>
          <section className="card" aria-labelledby="history">
            <div className="card-head">
              <h2 id="history">{t('history.title')}</h2>
              <Link to="/renewals" search={{ realm, key }}>
                {t('history.all')}
              </Link>
            </div>
            <RenewalTable
              label={t('history.title')}
              rows={history.data?.list}
              error={history.error}
              loading={history.isFetching}
              empty={<p className="hint">{t('history.none')}</p>}
              withoutSecret
            />
          </section>
        </>
      ) : null}
    </Page>
  )
}

function Facts({ secret }: { secret: Secret }) {
  const { t } = useTranslation(['secrets', 'common'])
  return (
    <dl className="facts-list">
      <div>
        <dt>{t('columns.generation')}</dt>
        <dd>{secret.generation}</dd>
      </div>
      <div>
        <dt>{t('token.expires')}</dt>
        <dd>{secret.generation === 0 ? <span className="hint">{t('noTokenYet')}</span> : <Moment at={secret.expires_at} />}</dd>
      </div>
      <div>
        <dt>{t('token.renewAt')}</dt>
        <dd>{secret.renew_at ? <Moment at={secret.renew_at} /> : <span className="hint">{t('token.notScheduled')}</span>}</dd>
      </div>
      <div>
        <dt>{t('token.lastAttempt')}</dt>
        <dd>{secret.last_attempt_at ? <Moment at={secret.last_attempt_at} /> : <span className="hint">-</span>}</dd>
      </div>
      {secret.waiting ? (
        <div>
          <dt>{t('token.waiting')}</dt>
          <dd lang="en">{secret.waiting}</dd>
        </div>
      ) : null}
    </dl>
  )
}
