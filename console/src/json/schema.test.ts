import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { choicesAt, propertiesAt, type Schema } from './schema'

const root = JSON.parse(readFileSync(new URL('../../../openapi/realm.schema.json', import.meta.url), 'utf8')) as Schema

test('the schema of realm documents says what may stand where', () => {
  const top = propertiesAt(root, []).map(({ name }) => name)
  expect(top).toContain('token_path')
  expect(top).toContain('policy')
  expect(propertiesAt(root, ['params', 'anything']).map(({ name }) => name)).toContain('pattern')
  expect(propertiesAt(root, ['arguments', '0']).map(({ name }) => name)).toEqual(
    expect.arrayContaining(['name', 'place', 'value']),
  )
  expect(choicesAt(root, ['method'])).toEqual(['"GET"', '"POST"', '"PUT"'])
  expect(choicesAt(root, ['params', 'a', 'optional'])).toEqual(['true', 'false'])
  expect(propertiesAt(root, ['nonsense'])).toEqual([])
})
