import { ProblemError, UnreachableError } from '../api/problem'

const BY_CODE = {
  unauthorized: 'signIn',
  forbidden: 'rights',
  csrf: 'reload',
  cross_site: 'proxy',
  changed_meanwhile: 'again',
  realm_exists: 'otherName',
  name_taken: 'otherName',
  realm_has_secrets: 'cascade',
  secrets_lack_params: 'lacking',
  realm_not_fixed: 'notFixed',
  invalid_document: 'mend',
  malformed_json: 'mend',
  unknown_realm: 'gone',
  unknown_secret: 'gone',
  unknown_preset: 'gone',
  unknown_api_key: 'gone',
  unknown_issuer: 'gone',
  unreadable_here: 'sealingKey',
  params_damaged: 'damaged',
  too_many_requests: 'slower',
  database_unavailable: 'database',
  token_unavailable: 'noToken',
  fixed_token_flushed: 'fixed',
  fixed_token_missing: 'fixedMissing',
  too_many_streams: 'slower',
  internal: 'log',
} as const

export type Advice = (typeof BY_CODE)[keyof typeof BY_CODE] | 'unreachable'

/** What to do about an error; null where its own text says all there is. */
export function adviceOf(error: unknown): Advice | null {
  if (error instanceof UnreachableError) return 'unreachable'
  if (!(error instanceof ProblemError)) return null
  const code = error.problem.code
  return code in BY_CODE ? BY_CODE[code as keyof typeof BY_CODE] : null
}
