import { FAILING_NAMED, type Overview, type Realm } from '../api/contract'

/** How a realm is, by what is known of it and of what fails. */
export function healthOf(realm: Pick<Realm, 'id' | 'unreadable' | 'blocked_until'>, overview: Overview | undefined, now: number) {
  if (realm.unreadable) return { tone: 'bad', word: 'unreadable', count: 0 } as const
  const failing = overview?.failing.filter((one) => one.realm === realm.id) ?? []
  if (failing.length > 0) return { tone: 'bad', word: 'failing', count: failing.length } as const
  if (realm.blocked_until && Date.parse(realm.blocked_until) > now) return { tone: 'warn', word: 'blocked', count: 0 } as const
  // The overview names the worst only; of the others nothing is known here.
  if (!overview || overview.failing.length >= FAILING_NAMED) return { tone: 'calm', word: 'unknown', count: 0 } as const
  return { tone: 'good', word: 'good', count: 0 } as const
}
