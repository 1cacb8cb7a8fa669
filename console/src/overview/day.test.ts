import { expect, test } from 'vitest'
import { dayOf } from './day'

test('a day has 24 hours, also those in which nothing happened', () => {
  const day = dayOf(
    [
      { begun_at: '2026-11-28T11:00:00Z', stored: 3, failed: 1, discarded: 0 },
      { begun_at: '2026-11-27T13:00:00Z', stored: 2, failed: 0, discarded: 0 },
    ],
    Date.parse('2026-11-28T12:34:56Z'),
  )
  expect(day.length).toBe(24)
  expect(new Date(day[0]!.begunAt).toISOString()).toBe('2026-11-27T13:00:00.000Z')
  expect(day[0]).toMatchObject({ stored: 2, failed: 0 })
  expect(day[22]).toMatchObject({ stored: 3, failed: 1 })
  expect(day[23]).toMatchObject({ stored: 0, failed: 0 })
})
