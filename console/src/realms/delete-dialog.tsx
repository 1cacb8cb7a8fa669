import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, bodyOf, dataOf } from '../api/client'
import { Confirm } from '../shared/confirm'
import { GoesWith } from '../shared/goes-with'
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
  const path = { id }
  const cascade = more ? { cascade: true } : {}
  const { data: deletion } = useQuery({
    queryKey: ['realm-deletion', id, more],
    queryFn: () => dataOf(api.DELETE('/api/realm/{id}', { params: { path, query: { ...cascade, dry_run: true } } })),
    enabled: open,
    retry: false,
    gcTime: 0,
  })
  const remove = useAction({
    run: () => bodyOf(api.DELETE('/api/realm/{id}', { params: { path, query: cascade } })),
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
      {deletion ? <GoesWith deleted={deletion} /> : null}
      <p>{t('delete.forGood')}</p>
    </Confirm>
  )
}
