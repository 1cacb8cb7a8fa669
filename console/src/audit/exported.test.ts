import { expect, test } from 'vitest'
import type { Schemas } from '../api/contract'
import { exported, MOST } from './exported'

const entry = (id: number) => ({ id }) as Schemas['AuditEntry']

test('all pages are fetched, and an entry that moved is there once', async () => {
  const pages = [Array.from({ length: 1000 }, (_, at) => entry(2000 - at)), [entry(1001), entry(1000), entry(999)]]
  const progress: number[] = []
  const entries = await exported(async (page) => ({ list: pages[page - 1] ?? [], total: 1002 }), (share) => progress.push(share))
  expect(entries.length).toBe(1002)
  expect(new Set(entries.map(({ id }) => id)).size).toBe(1002)
  expect(progress.at(-1)).toBe(1)
})

test('no more are fetched than a browser saves', async () => {
  let asked = 0
  const entries = await exported(
    async (page) => {
      asked += 1
      return { list: Array.from({ length: 1000 }, (_, at) => entry(page * 1000 + at)), total: 1_000_000 }
    },
    () => undefined,
  )
  expect(entries.length).toBe(MOST)
  expect(asked).toBe(MOST / 1000)
})
