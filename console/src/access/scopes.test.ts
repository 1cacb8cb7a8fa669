import { expect, test } from 'vitest'
import { concernsAll, patternsOf, sampleOf } from './scopes'

test('patterns are parted by commas of any script', () => {
  expect(patternsOf(' wx*, feishu ，a ')).toEqual(['wx*', 'feishu', 'a'])
  expect(patternsOf(' , ')).toBe(null)
})

test('what concerns all has no patterns', () => {
  expect(concernsAll(['token:read', 'metrics'])).toBe(true)
  expect(concernsAll(['token:read', 'secret:write'])).toBe(false)
})

test('an example has a name that the key is good for', () => {
  expect(sampleOf(['wx*', 'shop'], 'KEY')).toBe('shop')
  expect(sampleOf(['wx*'], 'KEY')).toBe('KEY')
  expect(sampleOf(null, 'KEY')).toBe('KEY')
})
