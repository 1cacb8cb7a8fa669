import { json } from '@codemirror/lang-json'
import { EditorState } from '@codemirror/state'
import { expect, test } from 'vitest'
import { pathAt, rangeOf } from './pointer'

const text = '{"a": {"b/c": [1, "two"]}, "d": {}}'
const state = EditorState.create({ doc: text, extensions: [json()] })
const at = (pointer: string) => {
  const { from, to } = rangeOf(state, pointer)
  return text.slice(from, to)
}

test('a pointer leads to its value', () => {
  expect(at('/a/b~1c/1')).toBe('"two"')
  expect(at('/a/b~1c/0')).toBe('1')
  expect(at('/d')).toBe('"d": {')
})

test('where there is nothing, it leads as far as it can', () => {
  expect(at('/d/missing')).toBe('"d": {')
  expect(at('/a/b~1c/7/x')).toBe('"b/c": [')
  expect(at('')).toBe('{')
})

test('a place has a path', () => {
  expect(pathAt(state, text.indexOf('two') + 1)).toEqual(['a', 'b/c', '1'])
  expect(pathAt(state, text.indexOf('{}') + 1)).toEqual(['d'])
})
