import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Realm, Schemas } from '../api/contract'
import { Confirm } from '../shared/confirm'
import { Diff } from '../shared/diff-view'
import { useAction } from '../shared/use-action'
import { Waiting } from '../shared/waiting'

interface Props {
  open: boolean
  id: string
  comment: string
  before: Schemas['RealmDocument'] | null
  after: Schemas['RealmDocument']
  onClose: () => void
  failed: (error: unknown) => void
  saved: (id: string) => void
}

/** Secrets that are named; the number says how many there are. */
const NAMED = 5

const lines = (file: Schemas['RealmChanges']['before']) => (file ? JSON.stringify(file, null, 2) : '')

/** What saving would change, in the server's words, before it does. */
export function SaveDialog({ open, id, comment, before, after, onClose, failed, saved }: Props) {
  const { t } = useTranslation(['realms', 'common'])
  const [known, setKnown] = useState(false)
  const body = { id, config: after, ...(comment === '' && !before ? {} : { comment }) }
  const { data: tried, error } = useQuery({
    queryKey: ['realm-changes', body],
    queryFn: () => dataOf(api.POST('/api/realm', { params: { query: { dry_run: true } }, body })),
    enabled: open,
    retry: false,
    gcTime: 0,
  })
  useEffect(() => {
    if (open && error) failed(error)
    // Each error is told once.
  }, [open, error])
  const changes = tried?.changes
  const lacking = changes?.lacking_secrets_total ?? 0
  const save = useAction<void, Realm>({
    run: () => {
      const query = known ? { confirm: 'secrets_lack_params' as const } : {}
      return dataOf(api.POST('/api/realm', { params: { query }, body }))
    },
    changes: ['realms', 'realm', 'overview', 'secrets'],
    done: (realm) =>
      realm.warnings && realm.warnings.length > 0
        ? t('save.doneWithWarnings', { count: realm.warnings.length })
        : t('save.done'),
    after: (realm) => {
      onClose()
      saved(realm.id)
    },
    failed,
  })
  return (
    <Confirm
      open={open}
      title={before ? t('save.title', { id }) : t('save.newTitle', { id })}
      confirm={t('save.confirm')}
      ready={changes !== undefined && (lacking === 0 || known)}
      busy={save.isPending}
      onConfirm={() => save.mutate()}
      onClose={() => {
        setKnown(false)
        onClose()
      }}
    >
      {before ? <p>{t('save.lead')}</p> : null}
      {changes ? <Diff before={lines(changes.before)} after={lines(changes.after)} /> : <Waiting label={t('common:loading')} />}
      {changes && changes.destinations.length > 0 && before ? (
        <>
          <p>{t('save.destinations')}</p>
          <ul>
            {changes.destinations.map(({ pointer, before: old, after: next }) => (
              <li key={pointer}>
                <code>{pointer}</code> {old ?? '-'} → {next ?? '-'}
              </li>
            ))}
          </ul>
        </>
      ) : null}
      {changes && lacking > 0 ? (
        <div className="problem" role="alert">
          <p>{t('save.lacking', { count: lacking })}</p>
          <ul>
            {changes.lacking_secrets.slice(0, NAMED).map(({ key, params }) => (
              <li key={key}>
                {key}: <code>{params.join(', ')}</code>
              </li>
            ))}
          </ul>
          <label>
            <input type="checkbox" checked={known} onChange={(event) => setKnown(event.target.checked)} /> {t('save.known')}
          </label>
        </div>
      ) : null}
    </Confirm>
  )
}
