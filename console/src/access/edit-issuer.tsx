import { Button, Modal } from 'antd'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Schemas, Scope } from '../api/contract'
import { Field } from '../shared/field'
import { ProblemNotice } from '../shared/problem-notice'
import { useAction } from '../shared/use-action'
import { patternsOf, SCOPES } from './scopes'

type Issuer = Schemas['Issuer']

interface Rule {
  when: string
  scopes: Scope[]
  realms: string
  keys: string
}

const NEW_RULE: Rule = { when: '', scopes: ['token:read'], realms: '', keys: '' }

function rulesOf(issuer: Issuer | null): Rule[] {
  const rules = (issuer?.rules ?? []) as Schemas['IssuerRule'][]
  return rules.map((rule) => ({
    when: rule.when,
    scopes: rule.scopes,
    realms: (rule.realms ?? []).join(', '),
    keys: (rule.keys ?? []).join(', '),
  }))
}

/** Registers an issuer, or changes what is registered of one. */
export function EditIssuer({ issuer, onClose }: { issuer: Issuer | null; onClose: () => void }) {
  const { t } = useTranslation('access')
  const [name, setName] = useState(issuer?.name ?? '')
  const [url, setUrl] = useState(issuer?.issuer ?? '')
  const [audiences, setAudiences] = useState(((issuer?.audiences ?? []) as string[]).join(', '))
  const [jwks, setJwks] = useState(issuer?.jwks_url ?? '')
  const [rules, setRules] = useState<Rule[]>(issuer ? rulesOf(issuer) : [NEW_RULE])
  const [error, setError] = useState<unknown>(null)
  const save = useAction({
    run: () => {
      const kept = issuer
        ? { algorithms: issuer.algorithms, jwks: issuer.jwks, ca: issuer.ca, proxy: issuer.proxy }
        : {}
      const body = {
        ...kept,
        issuer: url,
        audiences: patternsOf(audiences) ?? [],
        jwks_url: jwks || null,
        rules: rules.map((rule) => ({ ...rule, realms: patternsOf(rule.realms), keys: patternsOf(rule.keys) })),
      } as Schemas['NewIssuer']
      return dataOf(api.PUT('/api/issuer/{name}', { params: { path: { name } }, body }))
    },
    changes: ['issuers'],
    done: t('issuers.saved'),
    after: onClose,
    failed: setError,
  })
  function submit(event: FormEvent) {
    event.preventDefault()
    setError(null)
    save.mutate()
  }
  const set = (at: number, changed: Partial<Rule>) =>
    setRules(rules.map((rule, which) => (which === at ? { ...rule, ...changed } : rule)))
  const text = (label: string, value: string, change: (value: string) => void, hint?: string, readOnly = false) => (
    <Field label={label} {...(hint ? { hint } : {})}>
      {(control) => (
        <input {...control} className="field" value={value} readOnly={readOnly} spellCheck={false} onChange={(event) => change(event.target.value)} />
      )}
    </Field>
  )
  return (
    <Modal open width={720} title={issuer ? t('issuers.editOf', { name: issuer.name }) : t('issuers.new')} footer={null} onCancel={onClose}>
      <form onSubmit={submit}>
        <div className="pair">
          {text(t('columns.name'), name, setName, t('issuers.nameHint'), issuer !== null)}
          {text(t('issuers.issuer'), url, setUrl, t('issuers.issuerHint'))}
          {text(t('issuers.audiences'), audiences, setAudiences, t('issuers.audiencesHint'))}
          {text(t('issuers.jwks'), jwks, setJwks, t('issuers.jwksHint'))}
        </div>
        {rules.map((rule, at) => (
          <fieldset key={at}>
            <legend>{t('issuers.rule', { at: at + 1 })}</legend>
            {text(t('issuers.when'), rule.when, (when) => set(at, { when }), t('issuers.whenHint'))}
            <div className="scopes" role="group" aria-label={t('new.scopes')}>
              {SCOPES.map((scope) => (
                <label key={scope} className="check">
                  <input
                    type="checkbox"
                    checked={rule.scopes.includes(scope)}
                    onChange={(event) =>
                      set(at, { scopes: SCOPES.filter((one) => (one === scope ? event.target.checked : rule.scopes.includes(one))) })
                    }
                  />
                  <code>{scope}</code>
                </label>
              ))}
            </div>
            <div className="pair">
              {text(t('new.realms'), rule.realms, (realms) => set(at, { realms }), t('new.patternHint'))}
              {text(t('new.keys'), rule.keys, (keys) => set(at, { keys }), t('new.patternHint'))}
            </div>
            <Button size="small" onClick={() => setRules(rules.filter((_, which) => which !== at))}>
              {t('issuers.removeRule', { at: at + 1 })}
            </Button>
          </fieldset>
        ))}
        <Button size="small" onClick={() => setRules([...rules, NEW_RULE])}>
          {t('issuers.addRule')}
        </Button>
        {error ? <ProblemNotice error={error} title={t('new.refused')} /> : null}
        <div className="form-actions">
          <Button type="primary" htmlType="submit" loading={save.isPending}>
            {t('issuers.save')}
          </Button>
        </div>
      </form>
    </Modal>
  )
}
