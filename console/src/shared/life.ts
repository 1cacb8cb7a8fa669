export interface Life {
  allMs: number
  leftMs: number
  /** How much is left, from 0 to 1. */
  leftShare: number
  /** Where it will be renewed, counted as what is left then. */
  renewShare: number | null
  tone: 'good' | 'warn' | 'bad'
}

const within = (value: number) => Math.min(1, Math.max(0, value))

/** What a bar shows of a token that lives from `from` to `expiresAt`. Null where it never ends or never began. */
export function lifeOf(from: string | null, renewAt: string | null, expiresAt: string | null, now: number): Life | null {
  if (!expiresAt) return null
  const end = Date.parse(expiresAt)
  const begin = Math.min(from ? Date.parse(from) : now, end - 1)
  const allMs = end - begin
  const leftMs = Math.max(0, end - now)
  const renew = renewAt ? end - Date.parse(renewAt) : null
  const overdue = renewAt !== null && now > Date.parse(renewAt) + 5_000
  return {
    allMs,
    leftMs,
    leftShare: within(leftMs / allMs),
    renewShare: renew !== null && renew > 0 && renew < allMs ? within(renew / allMs) : null,
    tone: leftMs === 0 ? 'bad' : overdue ? 'warn' : 'good',
  }
}
