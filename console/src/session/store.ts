// Whether somebody is signed in, outside React: the API client needs it, too.
import type { Session } from '../api/contract'
import { stored } from '../app/stored'
import { led } from './led'

export type SessionState =
  | { kind: 'unknown' }
  | { kind: 'out'; reason: string | null; left: boolean }
  | { kind: 'in'; session: Session }

// The cookie cannot be read from here. Who has never signed in is not asked for it.
let state: SessionState =
  led.signedIn || stored.get('session') === 'begun' ? { kind: 'unknown' } : { kind: 'out', reason: null, left: false }
const listeners = new Set<() => void>()

export function sessionState(): SessionState {
  return state
}

export function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function become(next: SessionState) {
  state = next
  stored.set('session', next.kind === 'in' ? 'begun' : 'none')
  for (const listener of listeners) listener()
}

export function beginSession(session: Session) {
  become({ kind: 'in', session })
}

/** The session ended by itself: it was too old, or its key was revoked. `reason` is the server's text. */
export function endSession(reason: string | null) {
  // Several calls may be told so at once; the first has said it.
  if (state.kind === 'out') return
  become({ kind: 'out', reason, left: state.kind === 'in' })
}

/** Somebody signed out, or nobody was signed in. */
export function signedOut() {
  become({ kind: 'out', reason: null, left: false })
}
