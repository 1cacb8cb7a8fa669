import { WRONG, type Provider } from './provider.ts'
import type { Server } from './server.ts'
import { eventually } from './eventually.ts'

/** A server with something of everything: secrets that work, and one whose credentials are refused. */
export async function prepared(server: Server, provider: Provider) {
  await server.realm('shop', provider.document)
  await server.realm('office', provider.document)
  for (const key of ['main', 'branch', 'warehouse']) await server.secret('shop', key)
  await server.secret('office', 'calendar')
  for (const key of ['main', 'branch', 'warehouse']) {
    await eventually(`shop/${key} has a token`, async () => (await server.stateOf('shop', key)) === 'active')
  }
  await server.secret('shop', 'broken', WRONG)
  await eventually('one needs attention', async () => (await server.stateOf('shop', 'broken')) === 'needs_attention')
  await server.apiKey({ name: 'storefront', scopes: ['token:read', 'token:flush'], realms: ['shop'], keys: ['main'] })
}
