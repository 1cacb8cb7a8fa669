import type { Schemas } from '../api/contract'

type ApiKey = Pick<Schemas['ApiKey'], 'revoked_at' | 'expires_at' | 'authentic'>

/** Whether an API key lets anybody in. */
export function keyState(key: ApiKey, now: number) {
  if (!key.authentic) return { tone: 'bad', word: 'notAuthentic' } as const
  if (key.revoked_at) return { tone: 'calm', word: 'revoked' } as const
  if (key.expires_at && Date.parse(key.expires_at) <= now) return { tone: 'calm', word: 'expired' } as const
  return { tone: 'good', word: 'good' } as const
}
