import { expect, test } from 'vitest'
import { replicaTone } from './replica-tone'

test('what is worst of a server is said of it', () => {
  expect(replicaTone({ lag_ms: null, clock_offset_ms: 20 }).word).toBe('good')
  expect(replicaTone({ lag_ms: 31_000, clock_offset_ms: 0 }).word).toBe('late')
  expect(replicaTone({ lag_ms: 31_000, clock_offset_ms: -1_500 }).word).toBe('clockOff')
})
