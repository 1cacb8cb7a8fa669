import { Button } from 'antd'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Realm } from '../api/contract'
import { useMay } from '../session/use-session'
import { Field } from '../shared/field'
import { ProblemNotice } from '../shared/problem-notice'
import { useAction } from '../shared/use-action'

interface Props {
  kind: 'fixed' | 'logic'
  id: string
  comment: string
  saved: (id: string) => void
}

/** A realm without a document: of tokens that are typed in, or of custom logic behind a URL. */
export function SimpleRealm({ kind, id, comment, saved }: Props) {
  const { t } = useTranslation('realms')
  const may = useMay()
  const [url, setUrl] = useState('')
  const [error, setError] = useState<unknown>(null)
  const save = useAction<void, Realm>({
    run: () =>
      dataOf(
        api.POST('/api/realm', {
          body: { id, ...(comment ? { comment } : {}), ...(kind === 'logic' ? { logic_code: url } : {}) },
        }),
      ),
    changes: ['realms', 'overview'],
    done: t('save.done'),
    after: (realm) => saved(realm.id),
    failed: setError,
  })
  function submit(event: FormEvent) {
    event.preventDefault()
    setError(null)
    save.mutate()
  }
  const allowed = may('realm:write', id || undefined)
  return (
    <form className="card form-card" onSubmit={submit}>
      <p>{t(kind === 'fixed' ? 'detail.fixed' : 'create.logic')}</p>
      {kind === 'logic' ? (
        <Field label={t('create.logicUrl')} required>
          {(control) => (
            <input {...control} className="field mono" value={url} spellCheck={false} onChange={(event) => setUrl(event.target.value)} />
          )}
        </Field>
      ) : null}
      {error ? <ProblemNotice error={error} title={t('notSaved')} /> : null}
      <div className="form-actions">
        <Button
          type="primary"
          htmlType="submit"
          loading={save.isPending}
          disabled={!allowed || id === '' || (kind === 'logic' && url === '')}
        >
          {t('save.confirm')}
        </Button>
        {allowed ? null : <span className="hint">{t('notAllowed')}</span>}
        {id === '' ? <span className="hint">{t('editor.nameFirst')}</span> : null}
      </div>
    </form>
  )
}
