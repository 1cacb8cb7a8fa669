// As much of JSON Schema as the schema of realm documents uses.

export interface Schema {
  type?: string | string[]
  description?: string
  enum?: unknown[]
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  items?: Schema
  anyOf?: Schema[]
  oneOf?: Schema[]
  $ref?: string
  $defs?: Record<string, Schema>
}

function resolved(schema: Schema, root: Schema): Schema[] {
  const name = schema.$ref?.match(/^#\/\$defs\/(.+)$/)?.[1]
  const referred = name === undefined ? undefined : root.$defs?.[name]
  const own = referred ? resolved(referred, root) : [schema]
  return [...own, ...[...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].flatMap((one) => resolved(one, root))]
}

/** What the schema says of the value at the end of a path: each way in which it may be. */
export function schemasAt(root: Schema, path: readonly string[]): Schema[] {
  let at = resolved(root, root)
  for (const name of path) {
    at = at.flatMap((schema) => {
      const more = typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined
      const next = schema.properties?.[name] ?? schema.items ?? more
      return next ? resolved(next, root) : []
    })
  }
  return at
}

export interface Property {
  name: string
  description: string
}

export function propertiesAt(root: Schema, path: readonly string[]): Property[] {
  const found = new Map<string, Property>()
  for (const schema of schemasAt(root, path)) {
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      if (!found.has(name)) found.set(name, { name, description: property.description ?? '' })
    }
  }
  return [...found.values()]
}

export function choicesAt(root: Schema, path: readonly string[]): string[] {
  const choices = schemasAt(root, path).flatMap((schema) => {
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value))
    return [schema.type].flat().includes('boolean') ? ['true', 'false'] : []
  })
  return [...new Set(choices)]
}
