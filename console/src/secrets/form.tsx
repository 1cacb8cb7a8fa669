import { Button } from 'antd'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Realm, Schemas, Secret } from '../api/contract'
import { ProblemError } from '../api/problem'
import { faultOf, isDeclared, paramsOf } from '../realms/params'
import { ParamsForm } from '../realms/params-form'
import { Confirm } from '../shared/confirm'
import { Field } from '../shared/field'
import { ProblemNotice } from '../shared/problem-notice'
import { fromLocalInput } from '../shared/time'
import { useAction } from '../shared/use-action'
import { ParamChanges } from './param-changes'
import { changesOf, faultsByName, patchOf } from './patch'

interface Props {
  realm: Realm
  /** What is changed; absent for a new one. */
  secret?: Secret
  saved: (secret: Secret) => void
}

/** What a secret gives to its realm, by the realm's own list; or a fixed token. */
export function SecretForm({ realm, secret, saved }: Props) {
  const { t } = useTranslation('secrets')
  const fixed = !realm.config && !realm.logic_code
  const params = paramsOf(realm.config)
  const masks: Record<string, string> = secret?.params ?? {}
  const [key, setKey] = useState(secret?.key ?? '')
  const [values, setValues] = useState<Record<string, string>>(masks)
  const [token, setToken] = useState('')
  const [expires, setExpires] = useState('')
  const [checked, setChecked] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const wrong = params.some(
    (param) => (!secret || values[param.name] !== masks[param.name]) && faultOf(param, values[param.name] ?? '') !== null,
  )
  const [tried, setTried] = useState<Schemas['SecretChanges'] | null>(null)
  const body = () =>
    fixed
      ? { realm: realm.id, key, token, expires_at: fromLocalInput(expires) }
      : { realm: realm.id, key, ...patchOf(changesOf(params, masks, values), isDeclared(realm.config)) }
  const compare = useAction<void, Secret>({
    run: () => dataOf(api.POST('/api/secret', { params: { query: { dry_run: true } }, body: body() })),
    failed: setError,
    after: (secret) => setTried(secret.changes ?? null),
  })
  const save = useAction<void, Secret>({
    run: () => dataOf(api.POST('/api/secret', { body: body() })),
    changes: ['secret', 'secrets', 'overview', 'renewals'],
    done: t('form.saved'),
    failed: (failure) => {
      setTried(null)
      setError(failure)
    },
    after: saved,
  })
  function submit(event: FormEvent) {
    event.preventDefault()
    setChecked(true)
    setError(null)
    if (key === '' || (fixed ? token === '' : wrong)) return
    // Of a new one everything is new.
    if (secret) compare.mutate()
    else save.mutate()
  }
  return (
    <form onSubmit={submit} noValidate>
      {secret ? (
        <p className="hint">{t('form.masked')}</p>
      ) : (
        <Field label={t('form.key')} hint={t('form.keyHint')} required fault={checked && key === '' ? t('form.missing') : null}>
          {(control) => (
            <input {...control} className="field" value={key} maxLength={255} spellCheck={false} autoComplete="off" onChange={(event) => setKey(event.target.value)} />
          )}
        </Field>
      )}
      {fixed ? (
        <>
          <Field label={t('form.token')} required fault={checked && token === '' ? t('form.missing') : null}>
            {(control) => (
              <input {...control} className="field" type="password" autoComplete="new-password" value={token} onChange={(event) => setToken(event.target.value)} />
            )}
          </Field>
          <Field label={t('form.expires')} hint={t('form.expiresHint')}>
            {(control) => (
              <input {...control} className="field" type="datetime-local" value={expires} onChange={(event) => setExpires(event.target.value)} />
            )}
          </Field>
        </>
      ) : (
        <ParamsForm params={params} values={values} onChange={setValues} checked={checked && wrong} faults={faultsOf(error)} />
      )}
      {error ? <ProblemNotice error={error} title={t('form.notSaved')} /> : null}
      <div className="form-actions">
        <Button type="primary" htmlType="submit" loading={save.isPending || compare.isPending}>
          {secret ? t('form.compare') : t('form.save')}
        </Button>
      </div>
      <Confirm
        open={tried !== null}
        title={t('form.changes', { realm: realm.id, key })}
        confirm={t('form.save')}
        busy={save.isPending}
        onConfirm={() => save.mutate()}
        onClose={() => setTried(null)}
      >
        {tried ? <ParamChanges changes={tried} /> : null}
      </Confirm>
    </form>
  )
}

function faultsOf(error: unknown): Record<string, string> {
  return error instanceof ProblemError ? faultsByName(error.problem.errors ?? []) : {}
}
