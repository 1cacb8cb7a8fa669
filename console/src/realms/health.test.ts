import { expect, test } from 'vitest'
import type { Overview } from '../api/contract'
import { healthOf } from './health'

const realm = { id: 'wx', blocked_until: null }
const overview = (names: string[]) => ({ failing: names.map((name) => ({ realm: name })) }) as unknown as Overview

test('a realm is as well as what hangs on it', () => {
  expect(healthOf(realm, overview(['a']), 0)).toMatchObject({ word: 'good' })
  expect(healthOf(realm, overview(['wx', 'a', 'wx']), 0)).toMatchObject({ word: 'failing', count: 2 })
  expect(healthOf({ ...realm, unreadable: 'why' }, overview(['wx']), 0).word).toBe('unreadable')
  expect(healthOf({ ...realm, blocked_until: new Date(10).toISOString() }, overview([]), 0).word).toBe('blocked')
  expect(healthOf({ ...realm, blocked_until: new Date(10).toISOString() }, overview([]), 20).word).toBe('good')
})

test('where more fails than is named, nobody says that a realm is well', () => {
  expect(healthOf(realm, overview(Array.from({ length: 20 }, () => 'a')), 0).word).toBe('unknown')
  expect(healthOf(realm, undefined, 0).word).toBe('unknown')
})
