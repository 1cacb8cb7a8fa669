import { describe, expect, test } from 'vitest'
import { allows, covers, fits } from './rights'

describe('what a session may do', () => {
  test('admin stands for everything but reading and flushing tokens', () => {
    expect(allows(['admin'], 'secret:write')).toBe(true)
    expect(allows(['admin'], 'token:read')).toBe(false)
    expect(allows(['admin'], 'token:flush')).toBe(false)
    expect(allows(['token:read'], 'token:read')).toBe(true)
    expect(allows(['realm:read'], 'realm:write')).toBe(false)
  })

  test('a star stands for any characters, also none', () => {
    expect(fits('wx*', 'wxgzh')).toBe(true)
    expect(fits('wx*', 'wx')).toBe(true)
    expect(fits('wx*', 'awx')).toBe(false)
    expect(fits('a*b*c', 'a-b-c')).toBe(true)
    expect(fits('a*b*c', 'ac')).toBe(false)
    expect(fits('ab*bc', 'abc')).toBe(false)
    expect(fits('*', 'anything')).toBe(true)
    expect(fits('Shop', 'shop')).toBe(false)
  })

  test('no patterns cover all', () => {
    expect(covers(null, 'x')).toBe(true)
    expect(covers(['a', 'b*'], 'bc')).toBe(true)
    expect(covers(['a', 'b*'], 'c')).toBe(false)
  })
})
