import { expect, test } from 'vitest'
import { argumentsOf, beyondForm, withField, withNested } from './document'

test('a form keeps what it does not show', () => {
  const document = { url: 'https://a', steps: [{ url: 'https://b' }], client_auth: { method: 'client_secret_post', client_id: 'x' } }
  expect(withField(document, 'url', 'https://c')).toEqual({ ...document, url: 'https://c' })
  expect(withNested(document, 'client_auth', 'client_id', undefined).client_auth).toEqual({ method: 'client_secret_post' })
  expect(withNested({}, 'client_auth', 'method', 'm')).toEqual({ client_auth: { method: 'm' } })
  expect(withField(document, 'url', undefined)).not.toHaveProperty('url')
  expect(beyondForm(document)).toEqual(['steps'])
})

test('arguments that a form cannot show are left to the editor', () => {
  expect(argumentsOf({})).toEqual([])
  expect(argumentsOf({ arguments: [{ name: 'a', place: 'url', value: 'b' }] })).toEqual([{ name: 'a', place: 'url', value: 'b' }])
  expect(argumentsOf({ arguments: [{ name: 'a', place: 'body', value: { nested: true } }] })).toBe(null)
  expect(argumentsOf({ arguments: [{ name: 'a', place: 'body', value: 'b', raw: true }] })).toBe(null)
})
