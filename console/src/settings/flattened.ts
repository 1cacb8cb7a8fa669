export interface Setting {
  name: string
  value: string
}

const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** Each key by its full name, in the order of the sections. */
export function flattened(section: Record<string, unknown>, above = ''): Setting[] {
  return Object.entries(section).flatMap(([key, value]) => {
    const name = above === '' ? key : `${above}.${key}`
    const isSection = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isSection ? flattened(value as Record<string, unknown>, name) : [{ name, value: shown(value) }]
  })
}
