import { Button, Modal } from 'antd'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Schemas, Scope } from '../api/contract'
import { Field } from '../shared/field'
import { ProblemNotice } from '../shared/problem-notice'
import { fromLocalInput } from '../shared/time'
import { useAction } from '../shared/use-action'
import { ReachPreview } from './reach-preview'
import { ScopeChoice } from './scope-choice'
import { concernsAll, patternsOf, sampleOf } from './scopes'
import { Snippets } from './snippets-view'

/** Makes an API key, and shows it once. */
export function NewKey({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation('access')
  const [name, setName] = useState('')
  const [scopes, setScopes] = useState<Scope[]>(['token:read', 'token:flush'])
  const [realms, setRealms] = useState('')
  const [keys, setKeys] = useState('')
  const [expires, setExpires] = useState('')
  const [rate, setRate] = useState('')
  const [checked, setChecked] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [made, setMade] = useState<Schemas['MadeApiKey'] | null>(null)
  const limited = !concernsAll(scopes)
  const patterns = { realms: limited ? patternsOf(realms) : null, keys: limited ? patternsOf(keys) : null }
  const make = useAction<void, Schemas['MadeApiKey']>({
    run: () =>
      dataOf(
        api.POST('/api/api-key', {
          body: { name, scopes, ...patterns, expires_at: fromLocalInput(expires), rate: rate === '' ? null : Number(rate) },
        }),
      ),
    changes: ['api-keys'],
    after: setMade,
    failed: setError,
  })
  function submit(event: FormEvent) {
    event.preventDefault()
    setChecked(true)
    setError(null)
    if (name !== '' && scopes.length > 0) make.mutate()
  }
  if (made) {
    return (
      <Modal open title={t('made.title', { name: made.name })} footer={<Button onClick={onClose}>{t('made.close')}</Button>} onCancel={onClose} mask={{ closable: false }}>
        <Snippets apiKey={made.key} realm={sampleOf(patterns.realms, 'REALM')} secretKey={sampleOf(patterns.keys, 'KEY')} />
      </Modal>
    )
  }
  return (
    <Modal open title={t('new.title')} footer={null} onCancel={onClose} width={640}>
      <form onSubmit={submit} noValidate>
        <Field label={t('new.name')} hint={t('new.nameHint')} required fault={checked && name === '' ? t('new.missing') : null}>
          {(control) => (
            <input {...control} className="field" value={name} autoComplete="off" spellCheck={false} onChange={(event) => setName(event.target.value)} />
          )}
        </Field>
        <ScopeChoice scopes={scopes} onChange={setScopes} fault={checked && scopes.length === 0 ? t('new.noScope') : null} />
        {limited ? (
          <>
            <div className="pair">
              <Field label={t('new.realms')} hint={t('new.patternHint')}>
                {(control) => (
                  <input {...control} className="field mono" value={realms} spellCheck={false} onChange={(event) => setRealms(event.target.value)} />
                )}
              </Field>
              <Field label={t('new.keys')} hint={t('new.patternHint')}>
                {(control) => (
                  <input {...control} className="field mono" value={keys} spellCheck={false} onChange={(event) => setKeys(event.target.value)} />
                )}
              </Field>
            </div>
            <ReachPreview realms={patterns.realms} keys={patterns.keys} />
          </>
        ) : (
          <p className="hint">{t('new.concernsAll')}</p>
        )}
        <div className="pair">
          <Field label={t('new.expires')} hint={t('new.expiresHint')}>
            {(control) => (
              <input {...control} className="field" type="datetime-local" value={expires} onChange={(event) => setExpires(event.target.value)} />
            )}
          </Field>
          <Field label={t('new.rate')} hint={t('new.rateHint')}>
            {(control) => (
              <input {...control} className="field" type="number" min={1} value={rate} onChange={(event) => setRate(event.target.value)} />
            )}
          </Field>
        </div>
        {error ? <ProblemNotice error={error} title={t('new.refused')} /> : null}
        <div className="form-actions">
          <Button type="primary" htmlType="submit" loading={make.isPending}>
            {t('new.make')}
          </Button>
        </div>
      </form>
    </Modal>
  )
}
