import { expect, test } from 'vitest'
import { paramsOf } from '../realms/params'
import { changesOf, faultsByName, patchOf } from './patch'

const params = paramsOf({ params: { id: {}, secret: {}, note: { optional: true } } })

test('what still shows its mask is not sent', () => {
  const masks = { id: 'abc', secret: '********', note: 'old' }
  expect(changesOf(params, masks, { id: 'abc', secret: '********', note: '' })).toEqual({ note: null })
  expect(changesOf(params, masks, { ...masks, secret: 'new' })).toEqual({ secret: 'new' })
  expect(changesOf(params, {}, { id: 'x' })).toEqual({ id: 'x' })
})

test('undeclared parameters have their own fields', () => {
  expect(patchOf({ key_1: 'a' }, false)).toEqual({ key_1: 'a' })
  expect(patchOf({ id: 'a' }, true)).toEqual({ params: { id: 'a' } })
})

test('faults stand at their field', () => {
  expect(
    faultsByName([
      { pointer: '/params/id', detail: 'one' },
      { pointer: '/params/id', detail: 'two' },
      { pointer: '/key_1', detail: 'three' },
    ]),
  ).toEqual({ id: 'one; two', key_1: 'three' })
})
