import type { FailureClass, Renewal } from '../api/contract'

export const CLASS_TONES: Record<FailureClass, string> = {
  permanent: 'bad',
  invalid_token: 'fourth',
  rate_limited: 'warn',
  transient: 'calm',
  internal: 'fifth',
}

export interface Point {
  /** From 0 to 1, from the left and from the bottom. */
  x: number
  y: number
  failed: boolean
}

function share(value: number, from: number, to: number): number {
  return to === from ? 0.5 : (value - from) / (to - from)
}

/** Durations over time, and what half of them and nearly all of them keep below. */
export function durationsOf(renewals: readonly Pick<Renewal, 'started_at' | 'duration_ms' | 'outcome'>[]) {
  const times = renewals.map((one) => Date.parse(one.started_at))
  const from = Math.min(...times)
  const to = Math.max(...times)
  const sorted = renewals.map((one) => one.duration_ms).sort((a, b) => a - b)
  const at = (quantile: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? 0
  const highest = Math.max(1, sorted.at(-1) ?? 0)
  const points = renewals.map((one, which): Point => ({
    x: share(times[which] ?? from, from, to),
    y: one.duration_ms / highest,
    failed: one.outcome === 'failed',
  }))
  return { points, from, to, highest, median: at(0.5), p95: at(0.95) }
}

/** How many failures of each class there were in each of so many slots of equal length. */
export function classesOver(renewals: readonly Pick<Renewal, 'started_at' | 'class'>[], slots: number) {
  const times = renewals.map((one) => Date.parse(one.started_at))
  const from = Math.min(...times)
  const length = Math.max(1, (Math.max(...times) - from) / slots)
  const known = Object.keys(CLASS_TONES) as FailureClass[]
  const classes = known.filter((name) => renewals.some((one) => one.class === name))
  const counted = Array.from({ length: slots }, (_, at) => ({ from: from + at * length, counts: classes.map(() => 0) }))
  renewals.forEach((one, which) => {
    const slot = counted[Math.min(slots - 1, Math.floor(((times[which] ?? from) - from) / length))]
    const of = one.class ? classes.indexOf(one.class) : -1
    if (slot && of >= 0) slot.counts[of] = (slot.counts[of] ?? 0) + 1
  })
  return { classes, slots: counted }
}
