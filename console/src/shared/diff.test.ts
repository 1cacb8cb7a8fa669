import { expect, test } from 'vitest'
import { diff, folded } from './diff'

const short = (before: string, after: string) =>
  diff(before, after).map(({ kind, text }) => `${kind === 'same' ? ' ' : kind === 'new' ? '+' : '-'}${text}`)

test('what is gone stands before what is new', () => {
  expect(short('a\nb\nc', 'a\nx\nc')).toEqual([' a', '-b', '+x', ' c'])
})

test('lines that were moved in between are found', () => {
  expect(short('a\nb\nc\nd', 'a\nc\nb\nd\ne')).toEqual([' a', '-b', ' c', '+b', ' d', '+e'])
})

test('something new is new as a whole, and nothing is nothing', () => {
  expect(short('', 'a\nb')).toEqual(['+a', '+b'])
  expect(short('a', '')).toEqual(['-a'])
  expect(short('a', 'a')).toEqual([' a'])
  expect(short('', '')).toEqual([])
})

test('both sides come back from what differs', () => {
  const before = 'a\na\nb\nc\na'
  const after = 'a\nb\na\na\nc'
  const lines = diff(before, after)
  expect(lines.filter((line) => line.kind !== 'new').map((line) => line.text).join('\n')).toBe(before)
  expect(lines.filter((line) => line.kind !== 'gone').map((line) => line.text).join('\n')).toBe(after)
})

test('what is far from a change is left out', () => {
  const lines = diff('1\n2\n3\n4\n5\n6', '1\n2\n3\n4\n5\nx')
  expect(folded(lines, 1)).toEqual([
    null,
    { kind: 'same', text: '5' },
    { kind: 'gone', text: '6' },
    { kind: 'new', text: 'x' },
  ])
})
