import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Overview } from '../api/contract'
import { Distance } from '../shared/moment'

export function NextDue({ due }: { due: Overview['due'] }) {
  const { t } = useTranslation('overview')
  return (
    <section className="card" aria-labelledby="due">
      <h2 id="due">{t('due.title')}</h2>
      {due.length === 0 ? <p className="hint">{t('due.none')}</p> : null}
      <ul className="rows tight">
        {due.map((one) => (
          <li key={JSON.stringify([one.realm, one.key])} className="row-head">
            <Link to="/secrets/$realm/$key" params={{ realm: one.realm, key: one.key }} className="name">
              {one.realm} / {one.key}
            </Link>
            {one.renew_at ? <Distance at={one.renew_at} /> : null}
          </li>
        ))}
      </ul>
    </section>
  )
}
