// What the server says of a sign-in by OpenID Connect, once it has led back to the page: read once, and
// taken out of the address.
import { stored } from '../app/stored'

const ASKED_FOR = 'asked-for'
const CONSOLE = '/console'

export interface Led {
  signedIn: boolean
  /** Why the sign-in came to nothing. */
  problem: string | null
}

export function ledBy(search: string): Led {
  const said = new URLSearchParams(search)
  return { signedIn: said.has('signed_in'), problem: said.get('problem') }
}

/** The page that was asked for before the sign-in, if it is one of the console. */
export function pageAfter(askedFor: string | null): string {
  const isOne = askedFor !== null && (askedFor === CONSOLE || /^\/console\/(?!\/)/.test(askedFor))
  return isOne ? askedFor : CONSOLE
}

/** Keeps where somebody was who leaves for the provider. */
export function leaveForProvider() {
  stored.set(ASKED_FOR, location.pathname + location.search)
}

function take(): Led {
  if (typeof location === 'undefined') return { signedIn: false, problem: null }
  const found = ledBy(location.search)
  if (found.signedIn || found.problem !== null) {
    history.replaceState(history.state, '', pageAfter(stored.get(ASKED_FOR)))
    stored.set(ASKED_FOR, '')
  }
  return found
}

export const led = take()
