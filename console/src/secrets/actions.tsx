import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { Button } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { api, bodyOf, dataOf } from '../api/client'
import type { Schemas, Secret } from '../api/contract'
import { useMay } from '../session/use-session'
import { Confirm } from '../shared/confirm'
import { GoesWith } from '../shared/goes-with'
import { useAction } from '../shared/use-action'
import { EditSecret } from './edit'

const CHANGES = ['secret', 'secrets', 'overview', 'renewals']
type Dialog = 'edit' | 'delete' | 'report' | null

/** What can be done with a secret; what the session does not allow is left out. */
export function SecretActions({ secret }: { secret: Secret }) {
  const { t } = useTranslation('secrets')
  const may = useMay()
  const navigate = useNavigate()
  const [dialog, setDialog] = useState<Dialog>(null)
  const { realm, key } = secret
  const path = { params: { path: { realm, key } } }
  const told = (token: Schemas['Token']) =>
    token.flushed === false ? (token.flush_denied ?? t('flush.nothing')) : t('flush.done', { generation: token.generation })
  const flush = useAction<void, Schemas['Token']>({
    run: () => bodyOf(api.POST('/api/token/flush', { body: { realm, key } })),
    changes: CHANGES,
    done: told,
  })
  const report = useAction<void, Schemas['Token']>({
    run: () => bodyOf(api.POST('/api/token/report', { body: { realm, key, generation: secret.generation } })),
    changes: CHANGES,
    done: told,
    after: () => setDialog(null),
  })
  const pause = useAction({
    run: () => dataOf(api.POST('/api/secret/{realm}/{key}/pause', path)),
    changes: CHANGES,
    done: t('pause.done'),
  })
  const resume = useAction({
    run: () => dataOf(api.POST('/api/secret/{realm}/{key}/resume', path)),
    changes: CHANGES,
    done: t('resume.done'),
  })
  const { data: deletion } = useQuery({
    queryKey: ['secret-deletion', realm, key],
    queryFn: () =>
      dataOf(api.DELETE('/api/secret/{realm}/{key}', { params: { ...path.params, query: { dry_run: true } } })),
    enabled: dialog === 'delete',
    retry: false,
    gcTime: 0,
  })
  const remove = useAction({
    run: () => bodyOf(api.DELETE('/api/secret/{realm}/{key}', path)),
    changes: ['secrets', 'overview'],
    done: t('delete.done', { realm, key }),
    after: () => void navigate({ to: '/secrets', search: { realm } }),
  })
  const flushes = may('token:flush', realm, key) && secret.state !== 'fixed'
  const writes = may('secret:write', realm, key)
  return (
    <>
      {flushes ? (
        <Button type="primary" onClick={() => flush.mutate()} loading={flush.isPending}>
          {t('flush.action')}
        </Button>
      ) : null}
      {flushes && secret.generation > 0 ? <Button onClick={() => setDialog('report')}>{t('report.action')}</Button> : null}
      {writes ? <Button onClick={() => setDialog('edit')}>{t('edit.action')}</Button> : null}
      {writes && secret.state !== 'fixed' ? (
        secret.state === 'paused' ? (
          <Button onClick={() => resume.mutate()} loading={resume.isPending}>
            {t('resume.action')}
          </Button>
        ) : (
          <Button onClick={() => pause.mutate()} loading={pause.isPending}>
            {t('pause.action')}
          </Button>
        )
      ) : null}
      {writes ? (
        <Button danger onClick={() => setDialog('delete')}>
          {t('delete.action')}
        </Button>
      ) : null}
      <Confirm
        open={dialog === 'report'}
        title={t('report.title')}
        confirm={t('report.action')}
        busy={report.isPending}
        onConfirm={() => report.mutate()}
        onClose={() => setDialog(null)}
      >
        <p>{t('report.text', { generation: secret.generation })}</p>
      </Confirm>
      <Confirm
        open={dialog === 'delete'}
        danger
        title={t('delete.title', { realm, key })}
        confirm={t('delete.action')}
        typed={key}
        busy={remove.isPending}
        onConfirm={() => remove.mutate()}
        onClose={() => setDialog(null)}
      >
        <p>{t('delete.text')}</p>
        {deletion ? <GoesWith deleted={deletion} /> : null}
      </Confirm>
      {dialog === 'edit' ? <EditSecret secret={secret} onClose={() => setDialog(null)} /> : null}
    </>
  )
}
