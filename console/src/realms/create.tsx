import { Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Field } from '../shared/field'
import { Page } from '../shared/page'
import { RealmEditor } from './editor'
import { SimpleRealm } from './simple-realm'

const BLANK = {
  params: { client_id: { title: 'Client ID', secret: false }, client_secret: { title: 'Client secret' } },
  url: 'https://',
  method: 'POST',
  content_type: 'form',
  arguments: [{ name: 'grant_type', place: 'body', value: 'client_credentials' }],
  client_auth: { method: 'client_secret_post', client_id: '$client_id', client_secret: '$client_secret' },
  token_path: 'access_token',
  expires_in_path: 'expires_in',
}

const KINDS = ['provider', 'fixed', 'logic'] as const

/** A realm from nothing; most are made from a preset. */
export function NewRealmPage() {
  const { t } = useTranslation('realms')
  const navigate = useNavigate()
  const [id, setId] = useState('')
  const [comment, setComment] = useState('')
  const [kind, setKind] = useState<(typeof KINDS)[number]>('provider')
  const saved = (name: string) => void navigate({ to: '/realms/$id', params: { id: name } })
  return (
    <Page
      title={t('create.title')}
      above={<Link to="/realms">{t('title')}</Link>}
      lead={t('create.lead')}
      actions={
        <Link className="button" to="/presets">
          {t('create.fromPreset')}
        </Link>
      }
    >
      <div className="pair">
        <Field label={t('fields.id')} required hint={t('fields.idHint')}>
          {(control) => (
            <input {...control} className="field" value={id} maxLength={255} spellCheck={false} autoComplete="off" onChange={(event) => setId(event.target.value)} />
          )}
        </Field>
        <Field label={t('fields.comment')} hint={t('fields.commentHint')}>
          {(control) => (
            <input {...control} className="field" value={comment} autoComplete="off" onChange={(event) => setComment(event.target.value)} />
          )}
        </Field>
      </div>
      <div className="toggle" role="group" aria-label={t('create.kind')}>
        {KINDS.map((name) => (
          <button key={name} type="button" aria-pressed={kind === name} onClick={() => setKind(name)}>
            {t(`kinds.${name}`)}
          </button>
        ))}
      </div>
      {kind === 'provider' ? (
        <RealmEditor id={id} comment={comment} before={null} document={BLANK} saved={saved} />
      ) : (
        <SimpleRealm key={kind} kind={kind} id={id} comment={comment} saved={saved} />
      )}
    </Page>
  )
}
