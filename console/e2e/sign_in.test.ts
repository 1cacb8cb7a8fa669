import { describe, expect, test } from 'vitest'
import { DATABASES } from './kit/database.ts'
import { stage } from './kit/walk.ts'

describe.each(DATABASES)('signing in, on %s', (kind) => {
  const on = stage(kind, async (server, provider) => {
    await server.realm('shop', provider.document)
    await server.secret('shop', 'main')
  })

  test('a key that is not good is refused, and the page says why', async () => {
    const visitor = await on.visitor()
    visitor.expectRefusals(401)
    const { page } = visitor
    await visitor.go('/')
    await page.getByLabel('API key').fill('not-a-key')
    await page.getByRole('button', { name: 'Sign in' }).click()
    const alert = page.getByRole('alert')
    await alert.waitFor()
    expect(await alert.textContent()).toContain('You are not signed in')
    expect(await page.getByLabel('API key').evaluate((field) => field === document.activeElement)).toBe(true)
  })

  test('who signs in sees the page he asked for, and nothing after signing out', async () => {
    const visitor = await on.signedIn('/secrets/shop/main')
    const { page } = visitor
    await page.getByRole('heading', { name: 'shop / main' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: 'shop / main' }).waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in to token-server' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: 'Sign in to token-server' }).waitFor()
  })

  test('no script of the page can read the session, and the key is kept nowhere', async () => {
    const { page } = await on.signedIn()
    const readable = await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }]))
    expect(readable).not.toContain(on.server.key)
    expect(readable).not.toContain('token_server_session')
  })

  test('a session ends at once when its key is revoked, and the page says so', async () => {
    const { id, key } = await on.server.apiKey({ name: `guest-${kind}`, scopes: ['realm:read', 'secret:read'] })
    const visitor = await on.visitor()
    visitor.expectRefusals(401)
    const { page } = visitor
    await visitor.signIn('/secrets', key)
    await page.getByRole('link', { name: 'shop / main' }).waitFor()
    await on.server.call('DELETE', `/api/api-key/${id}`)
    await page.getByText('Your session has ended.').waitFor()
  })

  test('who may only read sees no way to change anything', async () => {
    const { key } = await on.server.apiKey({ name: `reader-${kind}`, scopes: ['realm:read', 'secret:read'] })
    const visitor = await on.visitor()
    const { page } = visitor
    await visitor.signIn('/secrets/shop/main', key)
    await page.getByRole('heading', { name: 'shop / main' }).waitFor()
    for (const name of ['Renew now', 'Pause', 'Edit', 'Delete', 'Show the token']) {
      expect(await page.getByRole('button', { name }).count(), name).toBe(0)
    }
    expect(await page.getByRole('link', { name: 'Access' }).count()).toBe(0)
    expect(await page.getByRole('link', { name: 'Audit' }).count()).toBe(0)
    await page.getByText('lacks the scope token:read').waitFor()
  })
})
