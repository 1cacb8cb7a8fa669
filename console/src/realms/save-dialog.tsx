import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Realm, Schemas } from '../api/contract'
import { Confirm } from '../shared/confirm'
import { Diff } from '../shared/diff-view'
import { useAction } from '../shared/use-action'

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

const lines = (document: Schemas['RealmDocument'] | null) => (document ? JSON.stringify(document, null, 2) : '')

/** What saving would change, before it does. */
export function SaveDialog({ open, id, comment, before, after, onClose, failed, saved }: Props) {
  const { t } = useTranslation('realms')
  const save = useAction<void, Realm>({
    run: () =>
      dataOf(api.POST('/api/realm', { body: { id, config: after, ...(comment === '' && !before ? {} : { comment }) } })),
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
      busy={save.isPending}
      onConfirm={() => save.mutate()}
      onClose={onClose}
    >
      {before ? <p>{t('save.lead')}</p> : null}
      <Diff before={lines(before)} after={lines(after)} />
    </Confirm>
  )
}
