// What the console's own calls answer: sessions, events, the overview and the settings.
import type { components } from './schema'

export type Schemas = components['schemas']
export type Scope = Schemas['Scope']
export type SecretState = Schemas['SecretState']
export type FailureClass = Schemas['FailureClass']
export type Secret = Schemas['Secret']
export type Realm = Schemas['Realm']
export type Preset = Schemas['Preset']
export type Renewal = Schemas['Renewal']
export type DryRun = Schemas['DryRun']
export type Problem = Schemas['Problem']

/** How to sign in beside by API key. */
export interface SignIn {
  /** Null: there is no OpenID Connect. */
  oidc: { name: string; url: string } | null
}

export interface Session {
  caller: string
  /** The rule of sign-in that it has its rights by, from 1; null: an API key's. */
  rule: number | null
  scopes: Scope[]
  realms: string[] | null
  keys: string[] | null
  csrf: string
  idle_expires_at: string
  expires_at: string
}

export interface Failing {
  realm: string
  key: string
  state: SecretState
  renew_at: string | null
  last_error: Schemas['LastError'] | null
}

export interface RenewalHour {
  begun_at: string
  stored: number
  failed: number
  discarded: number
}

/** The server that answered. */
export interface Replica {
  name: string
  version: string
  lag_ms: number | null
  clock_offset_ms: number | null
}

export interface Overview {
  read_at: string
  /** Null where the caller may see some keys of a realm only. */
  states: { state: SecretState; secrets: number }[] | null
  failing: Failing[]
  due: { realm: string; key: string; renew_at: string | null }[]
  hours: RenewalHour[] | null
  replica: Replica
}

/** As many failing secrets as the overview names at most. */
export const FAILING_NAMED = 20

export interface Settings {
  version: string
  replica: string
  /** Where the database is. */
  database: string
  /** By section; `***` stands in the place of a secret. */
  configuration: Record<string, unknown>
  sealing_keys: { id: string; seals: boolean; values: number }[]
}
