import type { RenewalHour } from '../api/contract'

const HOUR_MS = 3_600_000

/** The last 24 hours up to `now`, the oldest first: those in which nothing was attempted, too. */
export function dayOf(hours: readonly RenewalHour[], now: number) {
  const byHour = new Map(hours.map((hour) => [Math.floor(Date.parse(hour.begun_at) / HOUR_MS), hour]))
  const last = Math.floor(now / HOUR_MS)
  return Array.from({ length: 24 }, (_, at) => {
    const hour = last - 23 + at
    const counted = byHour.get(hour)
    return { begunAt: hour * HOUR_MS, stored: counted?.stored ?? 0, failed: counted?.failed ?? 0 }
  })
}
