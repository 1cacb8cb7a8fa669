import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, bodyOf } from '../api/client'
import { Confirm } from '../shared/confirm'
import { useAction } from '../shared/use-action'

interface Props {
  id: string
  /** How many secrets hang on it; absent: nobody here may know. */
  secrets: number | undefined
  open: boolean
  onClose: () => void
  deleted: () => void
}

/** Deletes a realm, and says first what goes with it. */
export function DeleteRealm({ id, secrets, open, onClose, deleted }: Props) {
  const { t } = useTranslation('realms')
  const [error, setError] = useState<unknown>(null)
  const more = secrets !== 0
  const remove = useAction({
    run: () =>
      bodyOf(api.DELETE('/api/realm/{id}', { params: { path: { id }, query: more ? { cascade: true } : {} } })),
    changes: ['realms', 'secrets', 'overview'],
    done: t('delete.done', { id }),
    after: deleted,
    failed: setError,
  })
  return (
    <Confirm
      open={open}
      danger
      title={t('delete.title', { id })}
      confirm={t('delete.confirm')}
      busy={remove.isPending}
      error={error}
      {...(more ? { typed: id } : {})}
      onConfirm={() => remove.mutate()}
      onClose={() => {
        setError(null)
        onClose()
      }}
    >
      <p>{secrets === undefined ? t('delete.unknown') : secrets === 0 ? t('delete.alone') : t('delete.with', { count: secrets })}</p>
      <p>{t('delete.forGood')}</p>
    </Confirm>
  )
}
