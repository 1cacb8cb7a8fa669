import { Button } from 'antd'
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, bodyOf } from '../api/client'
import type { Schemas } from '../api/contract'
import { Code } from '../shared/copy'
import { ProblemNotice } from '../shared/problem-notice'
import { useAction } from '../shared/use-action'

const SHOWN_FOR_MS = 60_000

interface Props {
  realm: string
  secretKey: string
  generation: number
}

/** The token itself: asked for, since asking is in the audit; hidden again after a minute. */
export function TokenValue({ realm, secretKey: key, generation }: Props) {
  const { t } = useTranslation('secrets')
  const [token, setToken] = useState<Schemas['Token'] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const ask = useAction<void, Schemas['Token']>({
    run: () => bodyOf(api.GET('/api/token', { params: { query: { realm, key } } })),
    after: (out) => {
      setError(null)
      setToken(out)
    },
    failed: (failure) => {
      setToken(null)
      setError(failure)
    },
  })
  useEffect(() => {
    if (!token) return
    const timer = setTimeout(() => setToken(null), SHOWN_FOR_MS)
    return () => clearTimeout(timer)
  }, [token])
  return (
    <div className="token-value">
      {token ? (
        <>
          <Code text={token.token} label={t('token.value')} />
          {token.generation < generation ? <p className="hint">{t('token.older')}</p> : null}
          {token.extra == null ? null : <Code text={JSON.stringify(token.extra, null, 2)} label={t('token.extra')} />}
        </>
      ) : null}
      <div className="form-actions">
        {token ? (
          <Button onClick={() => setToken(null)}>{t('token.hide')}</Button>
        ) : (
          <Button onClick={() => ask.mutate()} loading={ask.isPending}>
            {t('token.show')}
          </Button>
        )}
        <span className="hint">{t('token.audited')}</span>
      </div>
      {error ? <ProblemNotice error={error} title={t('token.none')} /> : null}
    </div>
  )
}
