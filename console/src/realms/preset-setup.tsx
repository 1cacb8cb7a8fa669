import { Button } from 'antd'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { api, bodyOf, dataOf } from '../api/client'
import type { Preset } from '../api/contract'
import { codeOf } from '../api/problem'
import { useMay } from '../session/use-session'
import { Field } from '../shared/field'
import { ProblemNotice } from '../shared/problem-notice'
import { useAction } from '../shared/use-action'
import { DryRunPanel } from './dry-run'
import { faultOf, given, paramsOf } from './params'
import { ParamsForm } from './params-form'

interface Props {
  preset: Preset
  done: (realm: string, key: string) => void
}

const FIRST_KEY = 'main'

/** Registers a preset as a realm, with its first secret. */
export function PresetSetup({ preset, done }: Props) {
  const { t } = useTranslation('realms')
  const may = useMay()
  const params = paramsOf(preset.config)
  const [realm, setRealm] = useState(preset.id)
  const [key, setKey] = useState(FIRST_KEY)
  const [values, setValues] = useState<Record<string, string>>({})
  const [checked, setChecked] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const wrong = params.some((param) => faultOf(param, values[param.name] ?? '') !== null)
  const save = useAction({
    run: async () => {
      await register(preset.id, realm)
      await dataOf(api.POST('/api/secret', { body: { realm, key, params: given(params, values) } }))
    },
    changes: ['realms', 'secrets', 'overview'],
    failed: setError,
    after: () => done(realm, key),
  })
  function submit(event: FormEvent) {
    event.preventDefault()
    setChecked(true)
    setError(null)
    if (realm !== '' && key !== '' && !wrong) save.mutate()
  }
  const allowed = may('realm:write', realm) && may('secret:write', realm, key)
  return (
    <form className="card" onSubmit={submit} noValidate>
      <h2>{t('preset.setup')}</h2>
      <div className="pair">
        <Field label={t('fields.id')} required hint={t('preset.idHint')} fault={checked && realm === '' ? t('params.missing') : null}>
          {(control) => (
            <input {...control} className="field" value={realm} spellCheck={false} onChange={(event) => setRealm(event.target.value)} />
          )}
        </Field>
        <Field label={t('preset.key')} required hint={t('preset.keyHint')} fault={checked && key === '' ? t('params.missing') : null}>
          {(control) => (
            <input {...control} className="field" value={key} spellCheck={false} onChange={(event) => setKey(event.target.value)} />
          )}
        </Field>
      </div>
      <ParamsForm params={params} values={values} onChange={setValues} checked={checked} />
      {error ? (
        <ProblemNotice error={error} title={t('notSaved')}>
          {codeOf(error) === 'realm_exists' ? <p>{t('preset.exists')}</p> : null}
        </ProblemNotice>
      ) : null}
      <div className="form-actions">
        <Button type="primary" htmlType="submit" loading={save.isPending} disabled={!allowed}>
          {t('preset.save')}
        </Button>
        {allowed ? null : <span className="hint">{t('notAllowed')}</span>}
      </div>
      {may('realm:write') ? (
        <details className="try">
          <summary>{t('dryRun.title')}</summary>
          <DryRunPanel document={preset.config} params={values} />
        </details>
      ) : null}
    </form>
  )
}

/** Registers the preset. Where a try before this one did so already, that is as good. */
async function register(preset: string, realm: string) {
  try {
    await bodyOf(api.POST('/api/preset/{id}', { params: { path: { id: preset } }, body: { id: realm } }))
  } catch (error) {
    if (codeOf(error) !== 'realm_exists' || !(await isOfPreset(preset, realm))) throw error
  }
}

async function isOfPreset(preset: string, realm: string): Promise<boolean> {
  const [ours, theirs] = await Promise.all([
    dataOf(api.GET('/api/preset/{id}', { params: { path: { id: preset } } })),
    dataOf(api.GET('/api/realm/{id}', { params: { path: { id: realm } } })),
  ])
  return JSON.stringify(ours.config) === JSON.stringify(theirs.config)
}
