import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Secret } from '../api/contract'
import { Distance } from '../shared/moment'
import { whatToDo } from './what-to-do'

/** Why there is no fresh token, and what to do. */
export function LastError({ secret }: { secret: Secret }) {
  const { t } = useTranslation(['secrets', 'common'])
  const error = secret.last_error
  if (!error) return null
  return (
    <section className="problem" aria-labelledby="last-error">
      <h2 id="last-error" className="problem-title">
        {t(`common:classes.${error.class}`)}
      </h2>
      <p className="problem-detail" lang="en">
        {error.detail}
      </p>
      <p>{t(`todo.${whatToDo(secret.state, error.class, error.detail)}`)}</p>
      <p className="hint">
        {t('failures', { count: error.failures })} <Distance at={error.since} />
        {' · '}
        <Link to="/renewals" search={{ realm: secret.realm, key: secret.key, outcome: 'failed' }}>
          {t('history.failed')}
        </Link>
      </p>
    </section>
  )
}
