export interface Setting {
  name: string
  value: string
}

const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** Each key by its full name, in the order of the alphabet: the server's own order is none. */
export function flattened(section: Record<string, unknown>, above = ''): Setting[] {
  const entries = Object.entries(section).sort(([one], [other]) => (one < other ? -1 : 1))
  return entries.flatMap(([key, value]) => {
    const name = above === '' ? key : `${above}.${key}`
    const isSection = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isSection ? flattened(value as Record<string, unknown>, name) : [{ name, value: shown(value) }]
  })
}
