import { describe, expect, test } from 'vitest'
import { ledBy, pageAfter } from './led'

describe('what the server says of a sign-in', () => {
  test('it succeeded, or why not, or there was none', () => {
    expect(ledBy('?signed_in=1')).toEqual({ signedIn: true, problem: null })
    expect(ledBy('?problem=no_rule')).toEqual({ signedIn: false, problem: 'no_rule' })
    expect(ledBy('?page=2')).toEqual({ signedIn: false, problem: null })
  })

  test('it leads on within the console only', () => {
    expect(pageAfter('/console/secrets?page=2')).toBe('/console/secrets?page=2')
    for (const other of [null, '', '//evil.example', '/console//evil.example', '/docs', '/consoleevil']) {
      expect(pageAfter(other)).toBe('/console')
    }
  })
})
