import { Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Field } from '../shared/field'
import { Page } from '../shared/page'
import { RealmEditor } from './editor'

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

/** A realm from nothing; most are made from a preset. */
export function NewRealmPage() {
  const { t } = useTranslation('realms')
  const navigate = useNavigate()
  const [id, setId] = useState('')
  const [comment, setComment] = useState('')
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
      <RealmEditor
        id={id}
        comment={comment}
        before={null}
        document={BLANK}
        saved={(saved) => void navigate({ to: '/realms/$id', params: { id: saved } })}
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
      </RealmEditor>
    </Page>
  )
}
