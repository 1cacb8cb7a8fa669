import type { Replica } from '../api/contract'

const LATE_MS = 30_000
const CLOCK_MS = 1_000

/** How a server is, in a word: what is worst of it. */
export function replicaTone(replica: Pick<Replica, 'lag_ms' | 'clock_offset_ms'>) {
  if (Math.abs(replica.clock_offset_ms ?? 0) > CLOCK_MS) return { tone: 'warn', word: 'clockOff' } as const
  if ((replica.lag_ms ?? 0) > LATE_MS) return { tone: 'warn', word: 'late' } as const
  return { tone: 'good', word: 'good' } as const
}
