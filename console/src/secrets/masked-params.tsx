import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import type { Secret } from '../api/contract'
import { realmQuery } from '../api/queries'
import { paramsOf } from '../realms/params'
import { useMay } from '../session/use-session'
import { Moment } from '../shared/moment'

/** What is stored of a secret, as far as it may be seen. */
export function MaskedParams({ secret }: { secret: Secret }) {
  const { t } = useTranslation('secrets')
  const may = useMay()
  const { data: realm } = useQuery({ ...realmQuery(secret.realm), enabled: may('realm:read', secret.realm) })
  const labels = new Map(paramsOf(realm?.config).map((param) => [param.name, param.label]))
  const entries = Object.entries(secret.params ?? {})
  return (
    <section className="card" aria-labelledby="params">
      <h2 id="params">{t('params.title')}</h2>
      {secret.params === null ? <p className="bad">{t('params.unreadable')}</p> : null}
      {secret.params !== null && entries.length === 0 ? <p className="hint">{t('params.none')}</p> : null}
      <dl className="facts-list narrow">
        {entries.map(([name, value]) => (
          <div key={name}>
            <dt title={name}>{labels.get(name) ?? name}</dt>
            <dd>
              <code>{value}</code>
            </dd>
          </div>
        ))}
      </dl>
      <p className="hint">
        {t('params.updated')} <Moment at={secret.updated_at} />
      </p>
      {secret.warnings && secret.warnings.length > 0 ? (
        <ul className="warnings" lang="en">
          {secret.warnings.map((warning) => (
            <li key={warning.pointer + warning.detail}>
              <code>{warning.pointer}</code> {warning.detail}
            </li>
          ))}
        </ul>
      ) : null}
    </section>
  )
}
