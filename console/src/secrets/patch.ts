import type { Schemas } from '../api/contract'
import type { Param } from '../realms/params'

type Changes = Record<string, string | null>

/** What was changed: null clears a value, and what is as it was is not sent. */
export function changesOf(params: readonly Param[], before: Record<string, string>, after: Record<string, string>): Changes {
  const changes: Changes = {}
  for (const { name } of params) {
    const old = before[name] ?? ''
    const value = after[name] ?? ''
    if (value !== old) changes[name] = value === '' ? null : value
  }
  return changes
}

/** Where a realm declares its parameters they have a place of their own. */
export function patchOf(changes: Changes, declared: boolean): Partial<Schemas['SecretPatch']> {
  return declared ? { params: changes } : (changes as Partial<Schemas['SecretPatch']>)
}

/** The server's faults by the parameter that they are of. */
export function faultsByName(faults: readonly Schemas['Fault'][]): Record<string, string> {
  const byName: Record<string, string> = {}
  for (const { pointer, detail } of faults) {
    const name = pointer.replace(/^\/params\//, '/').slice(1).replaceAll('~1', '/').replaceAll('~0', '~')
    byName[name] = name in byName ? `${byName[name]}; ${detail}` : detail
  }
  return byName
}
