import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Failing, Overview, SecretState } from '../api/contract'
import { Distance } from '../shared/moment'
import { Badge, State } from '../shared/state'

const FAIL = new Set<SecretState>(['needs_attention', 'expired', 'retrying'])

/** What fails, why and since when, the worst first. */
export function FailingList({ failing, states }: { failing: readonly Failing[]; states: Overview['states'] }) {
  const { t } = useTranslation(['overview', 'common'])
  const more = (states ?? []).filter(({ state }) => FAIL.has(state)).reduce((sum, { secrets }) => sum + secrets, 0) - failing.length
  return (
    <section className="card" aria-labelledby="failing">
      <h2 id="failing">{t('failing.title')}</h2>
      {failing.length === 0 ? (
        <p className="all-well">
          <Badge tone="good">{t('failing.none')}</Badge>
        </p>
      ) : (
        <ul className="rows">
          {failing.map((one) => (
            <li key={JSON.stringify([one.realm, one.key])}>
              <div className="row-head">
                <Link to="/secrets/$realm/$key" params={{ realm: one.realm, key: one.key }} className="name">
                  {one.realm} / {one.key}
                </Link>
                <State state={one.state} />
              </div>
              {one.last_error ? (
                <>
                  <p lang="en" className="row-text">
                    {one.last_error.detail}
                  </p>
                  <p className="hint">
                    {t(`common:classes.${one.last_error.class}`)} · {t('failing.times', { count: one.last_error.failures })} ·{' '}
                    {t('failing.since')} <Distance at={one.last_error.since} />
                  </p>
                </>
              ) : null}
            </li>
          ))}
        </ul>
      )}
      {more > 0 ? <p className="hint">{t('failing.more', { count: more })}</p> : null}
    </section>
  )
}
