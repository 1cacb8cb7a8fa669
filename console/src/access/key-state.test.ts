import { expect, test } from 'vitest'
import { keyState } from './key-state'

const good = { authentic: true, revoked_at: null, expires_at: null }

test('an API key is good until it ends in one way or another', () => {
  expect(keyState(good, 0).word).toBe('good')
  expect(keyState({ ...good, expires_at: new Date(10).toISOString() }, 10).word).toBe('expired')
  expect(keyState({ ...good, revoked_at: new Date(10).toISOString() }, 0).word).toBe('revoked')
  expect(keyState({ ...good, authentic: false }, 0).word).toBe('notAuthentic')
})
