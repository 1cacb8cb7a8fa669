import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Button } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Schemas } from '../api/contract'
import { secretQuery } from '../api/queries'
import { Snippets } from '../access/snippets-view'
import { LastError } from '../secrets/last-error'
import { TokenValue } from '../secrets/token-value'
import { useMay } from '../session/use-session'
import { LifeBar } from '../shared/life-bar'
import { ProblemNotice } from '../shared/problem-notice'
import { State } from '../shared/state'
import { useAction } from '../shared/use-action'
import { Waiting } from '../shared/waiting'

const LOOK_EVERY_MS = 1_000

/** What came of a first secret: its token, and how an application gets it. */
export function FirstToken({ realm, secretKey: key }: { realm: string; secretKey: string }) {
  const { t } = useTranslation('start')
  const may = useMay()
  const { data: secret, error } = useQuery({
    ...secretQuery(realm, key),
    refetchInterval: (query) => (query.state.data?.state === 'pending' ? LOOK_EVERY_MS : false),
  })
  return (
    <>
      <section className="card" aria-labelledby="first-token">
        <div className="card-head">
          <h2 id="first-token">{t('token.title')}</h2>
          {secret ? <State state={secret.state} /> : null}
        </div>
        {error ? <ProblemNotice error={error} /> : null}
        {secret?.state === 'pending' && !secret.last_error ? (
          <Waiting label={secret.waiting ? t('token.waiting', { what: secret.waiting }) : t('token.asking')} />
        ) : null}
        {secret && secret.generation > 0 ? (
          <>
            <p>{t('token.good')}</p>
            <LifeBar from={secret.last_attempt_at} renewAt={secret.renew_at} expiresAt={secret.expires_at} />
            {may('token:read', realm, key) ? (
              <TokenValue realm={realm} secretKey={key} generation={secret.generation} />
            ) : null}
          </>
        ) : null}
        <p>
          <Link to="/secrets/$realm/$key" params={{ realm, key }}>
            {t('token.open')}
          </Link>
        </p>
      </section>
      {secret ? <LastError secret={secret} /> : null}
      {may('key:write') ? <KeyForApplication realm={realm} secretKey={key} /> : null}
    </>
  )
}

/** An API key that is good for this token only, in one click. */
function KeyForApplication({ realm, secretKey: key }: { realm: string; secretKey: string }) {
  const { t } = useTranslation('start')
  const may = useMay()
  const [made, setMade] = useState<Schemas['MadeApiKey'] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const make = useAction<void, Schemas['MadeApiKey']>({
    run: () =>
      dataOf(
        api.POST('/api/api-key', {
          body: { name: `${realm}-${key}`, scopes: ['token:read', 'token:flush'], realms: [realm], keys: [key] },
        }),
      ),
    changes: ['api-keys'],
    after: setMade,
    failed: setError,
  })
  const allowed = may('token:read') && may('token:flush')
  return (
    <section className="card" aria-labelledby="first-key">
      <h2 id="first-key">{t('key.title')}</h2>
      {made ? (
        <Snippets apiKey={made.key} realm={realm} secretKey={key} />
      ) : (
        <>
          <p>{t('key.lead')}</p>
          <Button type="primary" onClick={() => make.mutate()} loading={make.isPending} disabled={!allowed}>
            {t('key.make')}
          </Button>
          {allowed ? null : <p className="hint">{t('key.notAllowed')}</p>}
        </>
      )}
      {error ? (
        <ProblemNotice error={error}>
          <p>
            <Link to="/access">{t('key.other')}</Link>
          </p>
        </ProblemNotice>
      ) : null}
    </section>
  )
}
