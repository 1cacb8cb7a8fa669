// What a secret of a realm must give, as its document declares it.
import type { Schemas } from '../api/contract'

export interface Param {
  name: string
  /** What it is; the document's title up to the first comma. */
  label: string
  /** Where it is found: the rest of the title. */
  hint: string | null
  secret: boolean
  required: boolean
  byDefault: string | null
  pattern: string | null
  choices: readonly string[] | null
}

const UNDECLARED = ['key_1', 'key_2', 'key_3', 'key_4', 'key_5']
/** Values of these are long texts of several lines. */
const LONG = /key|pem|certificate|json|jwk/i

type Document = Schemas['RealmDocument'] | null | undefined

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)

function split(title: string): [string, string | null] {
  const at = title.search(/[,;:] /)
  if (at < 0) return [title, null]
  const hint = title.slice(at + 2)
  return [title.slice(0, at), hint.charAt(0).toUpperCase() + hint.slice(1)]
}

function param(name: string, declared: unknown): Param {
  const field = isObject(declared) ? declared : {}
  const [label, hint] = split(text(field.title) ?? name)
  const byDefault = text(field.default)
  return {
    name,
    label,
    hint,
    secret: field.secret !== false,
    required: field.optional !== true && byDefault === null,
    byDefault,
    pattern: text(field.pattern),
    choices: Array.isArray(field.enum) ? field.enum.filter((choice) => typeof choice === 'string') : null,
  }
}

export function isDeclared(document: Document): boolean {
  return isObject(document) && isObject(document.params)
}

/** The parameters of a realm; `key_1` to `key_5` where its document declares none. */
export function paramsOf(document: Document): Param[] {
  const declared = isObject(document) ? document.params : undefined
  if (isObject(declared)) return Object.entries(declared).map(([name, field]) => param(name, field))
  return UNDECLARED.map((name) => ({ ...param(name, { optional: true }) }))
}

export function isLong(param: Param): boolean {
  return param.secret && LONG.test(`${param.name} ${param.label}`) && /pem|private|json|certificate/i.test(`${param.label} ${param.hint ?? ''}`)
}

export type ParamFault = 'missing' | 'pattern'

/** What is wrong with a value; null where nothing is, or where its pattern is for the server to judge. */
export function faultOf(param: Param, value: string): ParamFault | null {
  if (value === '') return param.required ? 'missing' : null
  if (param.pattern === null) return null
  try {
    return new RegExp(`^(?:${param.pattern})$`, 'u').test(value) ? null : 'pattern'
  } catch {
    return null
  }
}

/** What is sent: values given, and defaults left out. */
export function given(params: readonly Param[], values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    params.flatMap(({ name }) => {
      const value = values[name]
      return value === undefined || value === '' ? [] : [[name, value]]
    }),
  )
}
