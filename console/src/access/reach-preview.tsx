import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import { realmsQuery, secretsQuery } from '../api/queries'
import { covers } from '../session/rights'
import { useMay } from '../session/use-session'

const LOOKED_AT = 200
const NAMED = 8

/** What patterns reach today, of the realms and secrets that are looked at. */
export function ReachPreview({ realms, keys }: { realms: string[] | null; keys: string[] | null }) {
  const { t } = useTranslation('access')
  const may = useMay()
  const all = useQuery({ ...realmsQuery({ pageSize: LOOKED_AT }), enabled: may('realm:read') })
  const secrets = useQuery({ ...secretsQuery({ pageSize: LOOKED_AT }), enabled: may('secret:read') })
  const reached = all.data?.list.filter((realm) => covers(realms, realm.id)).map((realm) => realm.id) ?? []
  const reachedSecrets =
    secrets.data?.list.filter((one) => covers(realms, one.realm) && covers(keys, one.key)).map((one) => `${one.realm} / ${one.key}`) ?? []
  const named = (names: string[]) => names.slice(0, NAMED).join(', ') + (names.length > NAMED ? ' …' : '')
  const more = (all.data?.total ?? 0) > LOOKED_AT || (secrets.data?.total ?? 0) > LOOKED_AT
  return (
    <div className="reach" role="status">
      <p>
        <strong>{t('reach.title')}</strong>
      </p>
      {all.data ? (
        <p>
          {t('reach.realmCount', { count: reached.length })}
          {reached.length > 0 ? `: ${named(reached)}` : ''}
        </p>
      ) : null}
      {secrets.data ? (
        <p>
          {t('reach.secretCount', { count: reachedSecrets.length })}
          {reachedSecrets.length > 0 ? `: ${named(reachedSecrets)}` : ''}
        </p>
      ) : null}
      {more ? <p className="hint">{t('reach.some', { count: LOOKED_AT })}</p> : null}
    </div>
  )
}
