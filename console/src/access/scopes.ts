import type { Scope } from '../api/contract'

export const SCOPES = [
  'token:read',
  'token:flush',
  'secret:read',
  'secret:write',
  'realm:read',
  'realm:write',
  'key:write',
  'audit:read',
  'metrics',
  'admin',
] as const satisfies readonly Scope[]

const OF_ALL: readonly Scope[] = ['key:write', 'audit:read', 'metrics', 'admin']

/** Whether a key with these scopes concerns all realms and secrets, so that it can have no patterns. */
export function concernsAll(scopes: readonly Scope[]): boolean {
  return scopes.some((scope) => OF_ALL.includes(scope))
}

/** Patterns as they are typed, by commas. Null: no limit. */
export function patternsOf(text: string): string[] | null {
  const patterns = text
    .split(/[,，]/)
    .map((pattern) => pattern.trim())
    .filter((pattern) => pattern !== '')
  return patterns.length > 0 ? patterns : null
}

/** A name for an example: the only one that the patterns allow, or a placeholder. */
export function sampleOf(patterns: readonly string[] | null, placeholder: string): string {
  const only = patterns?.find((pattern) => !pattern.includes('*'))
  return only ?? placeholder
}

type TextOf<S> = S extends `${infer What}:${infer How}` ? `${What}_${How}` : S

/** The name of a scope's text: a colon would part a namespace from a name. */
export function textOf(scope: Scope): TextOf<Scope> {
  return scope.replace(':', '_') as TextOf<Scope>
}
