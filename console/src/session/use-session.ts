import { createContext, useContext } from 'react'
import type { Scope, Session } from '../api/contract'
import { mayReach } from './rights'

export const SessionContext = createContext<Session | null>(null)

export function useSession(): Session {
  const session = useContext(SessionContext)
  if (!session) throw new Error('only within the shell')
  return session
}

/** Whether the session allows this. */
export function useMay(): (scope: Scope, realm?: string, key?: string) => boolean {
  const session = useSession()
  return (scope, realm, key) => mayReach(session, scope, realm, key)
}
