import { expect, test } from 'vitest'
import { lifeOf } from './life'

const at = (s: number) => new Date(1_800_000_000_000 + s * 1000).toISOString()
const now = (s: number) => 1_800_000_000_000 + s * 1000

test('a token lives from its renewal to its end', () => {
  expect(lifeOf(at(0), at(15), at(20), now(5))).toEqual({
    allMs: 20_000,
    leftMs: 15_000,
    leftShare: 0.75,
    renewShare: 0.25,
    tone: 'good',
  })
})

test('a renewal that is late is seen, and an end', () => {
  expect(lifeOf(at(0), at(100), at(200), now(110))?.tone).toBe('warn')
  expect(lifeOf(at(0), at(100), at(200), now(200))).toMatchObject({ tone: 'bad', leftMs: 0, leftShare: 0 })
})

test('what never ends has no bar', () => {
  expect(lifeOf(at(0), null, null, now(1))).toBe(null)
})

test('where nobody knows when it began, the bar begins now', () => {
  expect(lifeOf(null, null, at(10), now(0))).toMatchObject({ leftShare: 1, renewShare: null })
})
