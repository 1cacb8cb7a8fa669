import { Button } from 'antd'
import { useTranslation } from 'react-i18next'
import { api, dataOf } from '../api/client'
import type { Schemas } from '../api/contract'
import { covers } from '../session/rights'
import { useMay, useSession } from '../session/use-session'
import { useAction } from '../shared/use-action'

/** Renews what is due now: of one realm, or of all. */
export function RunNow({ realm }: { realm: string | undefined }) {
  const { t } = useTranslation('renewals')
  const may = useMay()
  const session = useSession()
  const run = useAction<void, Schemas['RenewalRun']>({
    run: () => dataOf(api.POST('/api/renewal/run', { params: { query: realm ? { realm } : {} } })),
    changes: ['renewals', 'secrets', 'overview'],
    done: (out) =>
      out.renewed + out.failed + out.waiting + out.left === 0
        ? t('run.nothing')
        : t('run.done', { renewed: out.renewed, failed: out.failed, left: out.left + out.waiting }),
  })
  if (!may('token:flush')) return null
  // A run needs a key without limits, or one that covers every key of the realm.
  const all = covers(session.keys, '*') && (realm ? covers(session.realms, realm) : session.realms === null)
  return (
    <>
      <Button onClick={() => run.mutate()} loading={run.isPending} disabled={!all}>
        {realm ? t('run.realm', { realm }) : t('run.all')}
      </Button>
      {all ? null : <span className="hint">{t('run.notAllowed')}</span>}
    </>
  )
}
