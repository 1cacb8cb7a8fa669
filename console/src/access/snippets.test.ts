import { expect, test } from 'vitest'
import { curlOf } from './snippets'

test('a command says names as a shell and a URL want them', () => {
  expect(curlOf('http://h', 'a b', "it's & more")).toBe(
    `curl -H "Authorization: Bearer $KEY" 'http://h/api/token?realm=a%20b&key=it'\\''s%20%26%20more'`,
  )
  expect(curlOf('http://h', 'r', 'k', 'tsk_1')).toBe(`curl -H 'Authorization: Bearer tsk_1' 'http://h/api/token?realm=r&key=k'`)
})
