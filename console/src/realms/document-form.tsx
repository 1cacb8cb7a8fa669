import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { Field } from '../shared/field'
import { Arguments } from './arguments'
import { DeclaredParams } from './declared-params'
import { beyondForm, object, text, withField, withNested } from './document'

type Document = Schemas['RealmDocument']

interface Props {
  document: Document
  onChange: (document: Document) => void
}

const METHODS = ['GET', 'POST', 'PUT']
const CONTENT_TYPES = ['json', 'form', 'xml', 'text', 'none']
const CLIENT_AUTH = ['none', 'client_secret_basic', 'client_secret_post']

/** The fields that most realms need. What else a document has is kept, and is edited as JSON. */
export function DocumentForm({ document, onChange }: Props) {
  const { t } = useTranslation('realms')
  const others = beyondForm(document)
  const auth = object(document.client_auth)
  const method = text(auth.method) || 'none'
  const input = (name: string, mono = true) => (
    <Field key={name} label={t(`fields.${name}` as 'fields.url')} hint={t(`fieldHints.${name}` as 'fieldHints.url')}>
      {(control) => (
        <input
          {...control}
          className={mono ? 'field mono' : 'field'}
          spellCheck={false}
          value={text(document[name])}
          onChange={(event) => onChange(withField(document, name, event.target.value || undefined))}
        />
      )}
    </Field>
  )
  const choice = (name: string, options: readonly string[], byDefault: string) => (
    <Field label={t(`fields.${name}` as 'fields.url')}>
      {(control) => (
        <select
          {...control}
          className="field"
          value={text(document[name]) || byDefault}
          onChange={(event) => onChange(withField(document, name, event.target.value))}
        >
          {options.map((option) => (
            <option key={option}>{option}</option>
          ))}
        </select>
      )}
    </Field>
  )
  return (
    <>
      <fieldset>
        <legend>{t('form.credentials')}</legend>
        <DeclaredParams document={document} onChange={onChange} />
      </fieldset>
      <fieldset>
        <legend>{t('form.request')}</legend>
        {input('url')}
        <div className="pair">
          {choice('method', METHODS, 'GET')}
          {choice('content_type', CONTENT_TYPES, 'json')}
        </div>
        <Arguments document={document} onChange={onChange} />
        <Field label={t('fields.client_auth')} hint={t('fieldHints.client_auth')}>
          {(control) => (
            <select
              {...control}
              className="field"
              value={method}
              onChange={(event) =>
                onChange(
                  event.target.value === 'none'
                    ? withField(document, 'client_auth', undefined)
                    : withNested(document, 'client_auth', 'method', event.target.value),
                )
              }
            >
              {[...new Set([...CLIENT_AUTH, method])].map((option) => (
                <option key={option}>{option}</option>
              ))}
            </select>
          )}
        </Field>
        {method === 'none' ? null : (
          <div className="pair">
            {(['client_id', 'client_secret'] as const).map((name) => (
              <Field key={name} label={name}>
                {(control) => (
                  <input
                    {...control}
                    className="field mono"
                    spellCheck={false}
                    value={text(auth[name])}
                    onChange={(event) => onChange(withNested(document, 'client_auth', name, event.target.value || undefined))}
                  />
                )}
              </Field>
            ))}
          </div>
        )}
      </fieldset>
      <fieldset>
        <legend>{t('form.answer')}</legend>
        {input('token_path')}
        <div className="pair">
          {input('expires_in_path')}
          {choice('expires_in_unit', ['s', 'ms', 'd:hh:mm', 'h:mm:ss'], 's')}
        </div>
        {input('success')}
      </fieldset>
      {others.length > 0 ? (
        <p className="hint">
          {t('form.others')} <code>{others.join(', ')}</code>
        </p>
      ) : null}
    </>
  )
}
