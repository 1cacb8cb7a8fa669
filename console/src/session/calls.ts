import { call } from '../api/client'
import type { Session, SignIn } from '../api/contract'
import { ProblemError } from '../api/problem'
import { beginSession, endSession, sessionState, signedOut } from './store'

interface Answer {
  data: Session
}

/** UTF-8 in base64, as Basic authentication wants it: a key may have any characters. */
export function basic(key: string): string {
  const bytes = new TextEncoder().encode(`x:${key}`)
  return `Basic ${btoa(String.fromCharCode(...bytes))}`
}

/** Begins a session with an API key. Throws what the server refuses. */
export async function signIn(key: string) {
  beginSession((await call<Answer>('POST', '/api/session', { Authorization: basic(key) })).data)
}

/** How else to sign in. Where the server does not say, by API key. */
export async function signInWays(): Promise<SignIn> {
  try {
    return (await call<{ data: SignIn }>('GET', '/api/sign-in')).data
  } catch {
    return { oidc: null }
  }
}

/** Looks whether there is a session. While the server cannot be reached, the one there was goes on. */
export async function readSession() {
  const was = sessionState()
  try {
    beginSession((await call<Answer>('GET', '/api/session')).data)
  } catch (error) {
    if (error instanceof ProblemError && error.problem.status === 401) {
      if (was.kind === 'unknown') signedOut()
    } else if (was.kind === 'unknown') {
      endSession(error instanceof Error ? error.message : null)
    }
  }
}

export async function signOut() {
  await call('DELETE', '/api/session')
  signedOut()
}
