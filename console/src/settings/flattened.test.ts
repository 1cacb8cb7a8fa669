import { expect, test } from 'vitest'
import { flattened } from './flattened'

test('settings have the names that the reference has', () => {
  expect(flattened({ data_dir: '/d', http: { listen: ':80', proxies: ['a'] }, proxy: { out: { kind: 'socks5' } }, off: false })).toEqual([
    { name: 'data_dir', value: '/d' },
    { name: 'http.listen', value: ':80' },
    { name: 'http.proxies', value: '["a"]' },
    { name: 'off', value: 'false' },
    { name: 'proxy.out.kind', value: 'socks5' },
  ])
})
