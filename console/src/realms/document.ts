// A realm document as a form changes it: what the form does not know stays as it is.
import type { Schemas } from '../api/contract'

type Document = Schemas['RealmDocument']

const IN_FORM = new Set([
  'params',
  'url',
  'method',
  'content_type',
  'arguments',
  'client_auth',
  'token_path',
  'expires_in_path',
  'expires_in_unit',
  'success',
])

export function object(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

/** Sets a field, or leaves it out; the others keep their order. */
export function withField(document: Document, name: string, value: unknown): Document {
  const next: Document = { ...document }
  if (value === undefined) delete next[name]
  else next[name] = value
  return next
}

export function withNested(document: Document, name: string, inner: string, value: unknown): Document {
  return withField(document, name, withField(object(document[name]), inner, value))
}

export interface Argument {
  name: string
  place: string
  value: string
}

/** The arguments that a form can show; null where there is one that it cannot. */
export function argumentsOf(document: Document): Argument[] | null {
  if (document.arguments === undefined) return []
  if (!Array.isArray(document.arguments)) return null
  const read = document.arguments.map((value) => {
    const argument = object(value)
    const simple = typeof argument.name === 'string' && typeof argument.value === 'string'
    const known = Object.keys(argument).every((key) => ['name', 'place', 'value'].includes(key))
    return simple && known ? { name: text(argument.name), place: text(argument.place) || 'body', value: text(argument.value) } : null
  })
  return read.every((argument) => argument !== null) ? read : null
}

/** Fields of the document that the form does not show. */
export function beyondForm(document: Document): string[] {
  return Object.keys(document).filter((name) => !IN_FORM.has(name))
}
