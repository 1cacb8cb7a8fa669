import { expect, test } from 'vitest'
import { faultOf, given, isDeclared, paramsOf } from './params'

const document = {
  params: {
    appid: { title: 'AppID, from the account page', secret: false, pattern: 'wx[0-9a-f]+' },
    secret: { title: 'AppSecret' },
    region: { default: 'eu', enum: ['eu', 'us'] },
    note: { optional: true },
  },
}

test('a form follows what the document declares', () => {
  const [appid, secret, region, note] = paramsOf(document)
  expect(appid).toMatchObject({ label: 'AppID', hint: 'From the account page', secret: false, required: true })
  expect(secret).toMatchObject({ label: 'AppSecret', hint: null, secret: true, required: true })
  expect(region).toMatchObject({ label: 'region', required: false, byDefault: 'eu', choices: ['eu', 'us'] })
  expect(note?.required).toBe(false)
  expect(isDeclared(document)).toBe(true)
})

test('a realm that declares none has five that may be left out', () => {
  expect(paramsOf({ url: 'https://x' }).map(({ name, required }) => [name, required])).toEqual(
    ['key_1', 'key_2', 'key_3', 'key_4', 'key_5'].map((name) => [name, false]),
  )
  expect(isDeclared(null)).toBe(false)
})

test('a pattern holds for the whole of a value', () => {
  const [appid] = paramsOf(document)
  expect(faultOf(appid!, 'wx12')).toBe(null)
  expect(faultOf(appid!, 'wx12!')).toBe('pattern')
  expect(faultOf(appid!, '')).toBe('missing')
  // What only the server's dialect of patterns knows is left to the server.
  expect(faultOf({ ...appid!, pattern: '(?i)a' }, 'b')).not.toBe('missing')
})

test('what was left empty is not sent', () => {
  expect(given(paramsOf(document), { appid: 'wx1', secret: '', other: 'x' })).toEqual({ appid: 'wx1' })
})
