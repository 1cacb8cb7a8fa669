const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600_000],
  ['month', 2_629_800_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
]

/** A time in the reader's zone. */
export function localTime(at: string, language: string, timeZone?: string): string {
  return new Intl.DateTimeFormat(language, {
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    ...(timeZone ? { timeZone } : {}),
  }).format(new Date(at))
}

/** The same in UTC, for comparing with logs. */
export function utcTime(at: string): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** A distance in time as people say it: in 5 minutes, 2 hours ago. */
export function inWords(ms: number, language: string): string {
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'always' })
  for (const [unit, size] of UNITS) {
    if (Math.abs(ms) >= size || unit === 'second') return format.format(Math.trunc(ms / size), unit)
  }
  return ''
}

/** A length of time in at most two units: 1 h 58 min. */
export function duration(ms: number, language: string): string {
  if (ms < 1000) return part(Math.max(0, Math.round(ms)), 'millisecond', language)
  const seconds = Math.round(ms / 1000)
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'day'],
    [Math.floor((seconds % 86_400) / 3600), 'hour'],
    [Math.floor((seconds % 3600) / 60), 'minute'],
    [seconds % 60, 'second'],
  ]
  const first = parts.findIndex(([count]) => count > 0)
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => part(count, unit, language))
    .join(' ')
}

function part(count: number, unit: string, language: string): string {
  return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'short' }).format(count)
}

/** What an `input` of the type `datetime-local` holds, as milliseconds since the epoch. */
export function fromLocalInput(value: string): number | null {
  const ms = value === '' ? NaN : new Date(value).getTime()
  return Number.isFinite(ms) ? ms : null
}

export function toLocalInput(ms: number): string {
  const at = new Date(ms)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`
}
