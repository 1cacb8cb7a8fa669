import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Overview } from '../api/contract'
import { STATES, toneOf } from '../shared/state'

/** How many secrets are how; each leads to them. */
export function Counts({ states }: { states: NonNullable<Overview['states']> }) {
  const { t, i18n } = useTranslation(['overview', 'common'])
  const counts = new Map(states.map(({ state, secrets }) => [state, secrets]))
  const format = new Intl.NumberFormat(i18n.language)
  return (
    <section aria-label={t('counts')}>
      <ul className="counts">
        {STATES.map((state) => {
          const count = counts.get(state) ?? 0
          return (
            <li key={state}>
              <Link
                to="/secrets"
                search={{ state }}
                className={count > 0 ? `count ${toneOf(state)}` : 'count none'}
                title={t(`common:stateHints.${state}`)}
              >
                <span className="count-number">{format.format(count)}</span>
                <span className="count-name">{t(`common:states.${state}`)}</span>
              </Link>
            </li>
          )
        })}
      </ul>
    </section>
  )
}
