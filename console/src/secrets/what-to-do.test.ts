import { expect, test } from 'vitest'
import { whatToDo } from './what-to-do'

test('an authorization that ended is not mended by waiting', () => {
  expect(whatToDo('needs_attention', 'permanent', 'refresh_token_refused: invalid_grant')).toBe('authorize')
  expect(whatToDo('needs_attention', 'transient', 'refresh_token_maybe_spent')).toBe('authorize')
})

test('each class of failure has something to do', () => {
  expect(whatToDo('needs_attention', 'permanent', 'invalid_client')).toBe('correct')
  expect(whatToDo('retrying', 'transient', 'refuses connections')).toBe('reach')
  expect(whatToDo('retrying', 'rate_limited', '429')).toBe('wait')
  expect(whatToDo('paused', 'permanent', 'invalid_client')).toBe('paused')
})
