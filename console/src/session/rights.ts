import type { Scope, Session } from '../api/contract'

const NOT_IN_ADMIN: readonly Scope[] = ['token:read', 'token:flush']

/** Whether these scopes let a caller do what needs `scope`. `admin` stands for all but reading and flushing tokens. */
export function allows(scopes: readonly Scope[], scope: Scope): boolean {
  return scopes.includes(scope) || (scopes.includes('admin') && !NOT_IN_ADMIN.includes(scope))
}

/** Whether a name fits a pattern, in which `*` stands for any characters. */
export function fits(pattern: string, name: string): boolean {
  const parts = pattern.split('*')
  const first = parts[0] ?? ''
  if (parts.length === 1) return name === pattern
  const last = parts[parts.length - 1] ?? ''
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  let at = first.length
  const end = name.length - last.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}

/** Whether a name is covered: no patterns cover all. */
export function covers(patterns: readonly string[] | null | undefined, name: string): boolean {
  return !patterns || patterns.length === 0 || patterns.some((pattern) => fits(pattern, name))
}

/** Whether the session may do this to this secret. */
export function mayReach(session: Session, scope: Scope, realm?: string, key?: string): boolean {
  return (
    allows(session.scopes, scope) &&
    (realm === undefined || covers(session.realms, realm)) &&
    (key === undefined || covers(session.keys, key))
  )
}
