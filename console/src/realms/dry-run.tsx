import { Button } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { DryRun, Schemas } from '../api/contract'
import { Field } from '../shared/field'
import { ProblemNotice } from '../shared/problem-notice'
import { useAction } from '../shared/use-action'
import { DryRunResult } from './dry-run-result'

interface Props {
  document: Schemas['RealmDocument']
  params: Record<string, string>
  /** Faults of the document, for whoever shows it. */
  onError?: (error: unknown) => void
}

/** Tries a document with parameters that are stored nowhere. */
export function DryRunPanel({ document, params, onError }: Props) {
  const { t } = useTranslation('realms')
  const [confirmed, setConfirmed] = useState(false)
  const [parent, setParent] = useState('')
  const [ticket, setTicket] = useState('')
  const [error, setError] = useState<unknown>(null)
  const [result, setResult] = useState<DryRun | null>(null)
  const spends = 'refresh_token_path' in document || 'refresh_token_from' in document
  const tried = useAction<boolean, DryRun>({
    run: (send) =>
      dataOf(
        api.POST('/api/realm/test', {
          body: {
            config: document,
            params: Object.fromEntries(Object.entries(params).filter(([, value]) => value !== '')),
            send,
            ...(parent ? { parent: { token: parent } } : {}),
            ...(ticket ? { ticket } : {}),
            ...(send && spends && confirmed ? { confirm: 'consumes_refresh_token' } : {}),
          },
        }),
      ),
    after: (out) => {
      setError(null)
      setResult(out)
      onError?.(null)
    },
    failed: (failure) => {
      setResult(null)
      setError(failure)
      onError?.(failure)
    },
  })
  return (
    <div className="dry-run">
      <p className="hint">{t('dryRun.lead')}</p>
      {'parent' in document ? (
        <Field label={t('dryRun.parent')}>
          {(control) => (
            <input {...control} className="field" type="password" autoComplete="off" value={parent} onChange={(event) => setParent(event.target.value)} />
          )}
        </Field>
      ) : null}
      {'ticket' in document ? (
        <Field label={t('dryRun.ticket')}>
          {(control) => (
            <input {...control} className="field" type="password" autoComplete="off" value={ticket} onChange={(event) => setTicket(event.target.value)} />
          )}
        </Field>
      ) : null}
      {spends ? (
        <label className="check">
          <input type="checkbox" checked={confirmed} onChange={(event) => setConfirmed(event.target.checked)} />
          {t('dryRun.spends')}
        </label>
      ) : null}
      <div className="form-actions">
        <Button onClick={() => tried.mutate(false)} loading={tried.isPending && tried.variables === false}>
          {t('dryRun.show')}
        </Button>
        <Button
          onClick={() => tried.mutate(true)}
          disabled={spends && !confirmed}
          loading={tried.isPending && tried.variables === true}
        >
          {t('dryRun.send')}
        </Button>
      </div>
      {error ? <ProblemNotice error={error} title={t('dryRun.failed')} /> : null}
      {result ? <DryRunResult result={result} /> : null}
    </div>
  )
}
