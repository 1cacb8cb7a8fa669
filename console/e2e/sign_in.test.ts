import { describe, expect, test } from 'vitest'
import { RUNS } from './kit/runs.ts'
import { stage } from './kit/walk.ts'
import { words } from './kit/words.ts'

/** Other replicas learn of it within a second. */
const AT_ONCE_MS = 2_000

describe.each(RUNS)('signing in, on $name', (run) => {
  const say = words(run.look.language)
  const on = stage(run, async (server, provider) => {
    await server.realm('shop', provider.document)
    await server.secret('shop', 'main')
  })

  test('a key that is not good is refused, and the page says why', async () => {
    const visitor = await on.visitor()
    visitor.expectRefusals(401)
    const { page } = visitor
    await visitor.go('/')
    await page.getByLabel(say('API key')).fill('not-a-key')
    await page.getByRole('button', { name: say('Sign in') }).click()
    const alert = page.getByRole('alert')
    await alert.waitFor()
    expect(await alert.textContent()).toMatch(say('You are not signed in'))
    expect(await page.getByLabel(say('API key')).evaluate((field) => field === document.activeElement)).toBe(true)
  })

  test('who signs in sees the page he asked for, and nothing after signing out', async () => {
    const visitor = await on.signedIn('/secrets/shop/main')
    const { page } = visitor
    await page.getByRole('heading', { name: 'shop / main' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: 'shop / main' }).waitFor()
    await visitor.openMenu()
    await page.getByRole('button', { name: say('Sign out') }).click()
    await page.getByRole('heading', { name: say('Sign in to token-server') }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: say('Sign in to token-server') }).waitFor()
  })

  test('no script of the page can read the session, and the key is kept nowhere', async () => {
    const { page } = await on.signedIn()
    const readable = await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }]))
    expect(readable).not.toContain(on.server.key)
    expect(readable).not.toContain('token_server_session')
  })

  test('a session ends at once when its key is revoked elsewhere, and the page says so', async () => {
    const { id, key } = await on.server.apiKey({ name: 'guest', scopes: ['realm:read', 'secret:read'] })
    const visitor = await on.visitor()
    visitor.expectRefusals(401)
    const { page } = visitor
    await visitor.signIn('/secrets', key)
    await page.getByRole('link', { name: 'shop / main' }).waitFor()
    await visitor.openMenu()
    await page.getByText(say('Live', 'whole')).waitFor()
    const took = await on.elsewhere(async (server) => {
      await server.call('DELETE', `/api/api-key/${id}`)
      const from = performance.now()
      await page.getByText(say('Your session has ended.')).waitFor()
      return performance.now() - from
    })
    console.info(`${run.name}: ${Math.round(took)} ms from the revocation to the end of the session`)
    expect(took).toBeLessThan(AT_ONCE_MS)
    expect(await page.getByText('shop / main').count()).toBe(0)
    await page.reload()
    await page.getByRole('heading', { name: say('Sign in to token-server') }).waitFor()
  })

  test('who may only read sees no way to change anything', async () => {
    const { key } = await on.server.apiKey({ name: 'reader', scopes: ['realm:read', 'secret:read'] })
    const visitor = await on.visitor()
    const { page } = visitor
    await visitor.signIn('/secrets/shop/main', key)
    await page.getByRole('heading', { name: 'shop / main' }).waitFor()
    await page.getByText(say('Your key may not read this token: it lacks the scope token:read here.')).waitFor()
    for (const name of ['Renew now', 'Report as refused', 'Pause', 'Edit', 'Delete', 'Show the token']) {
      expect(await page.getByRole('button', { name: say(name) }).count(), name).toBe(0)
    }
    expect(await visitor.pagesOffered()).toEqual(['/console/', '/console/realms', '/console/secrets', '/console/renewals'])
    for (const [path, action] of [
      ['/realms', 'New realm'],
      ['/realms/shop', 'Delete'],
      ['/realms/shop', 'Add a secret'],
      ['/secrets', 'New secret'],
    ] as const) {
      await visitor.turnTo(path)
      await page.locator('table, .card').first().waitFor()
      expect(await page.getByRole('button', { name: say(action, 'whole') }).count(), action).toBe(0)
      expect(await page.getByRole('link', { name: say(action, 'whole') }).count(), action).toBe(0)
    }
  })

  test('who goes where his key does not lead is refused by the server, and told so', async () => {
    const { key } = await on.server.apiKey({ name: 'stroller', scopes: ['realm:read', 'secret:read'] })
    const visitor = await on.visitor()
    visitor.expectRefusals(403)
    const { page } = visitor
    await visitor.signIn('/secrets', key)
    for (const path of ['/access', '/issuers', '/audit', '/settings']) {
      await visitor.turnTo(path)
      await page.locator('.problem').first().waitFor()
      expect(await page.locator('.problem').first().textContent(), path).toMatch(/403|forbidden/)
    }
    // What the page hides, a request of its session does not get either.
    const refused = await page.evaluate(async () => {
      const session = (await (await fetch('/api/session')).json()) as { data: { csrf: string } }
      const headers = { 'X-CSRF-Token': session.data.csrf, 'Content-Type': 'application/json' }
      const tried: [string, string, string | null][] = [
        ['DELETE', '/api/secret/shop/main', null],
        ['DELETE', '/api/realm/shop', null],
        ['POST', '/api/secret/shop/main/pause', null],
        ['POST', '/api/token/flush', JSON.stringify({ realm: 'shop', key: 'main' })],
        ['POST', '/api/api-key', JSON.stringify({ name: 'mine', scopes: ['realm:read'] })],
        ['GET', '/api/token?realm=shop&key=main', null],
      ]
      return Promise.all(tried.map(async ([method, path, body]) => `${method} ${path} ${(await fetch(path, { method, headers, body })).status}`))
    })
    expect(refused.filter((one) => !one.endsWith(' 403'))).toEqual([])
    expect(await on.server.stateOf('shop', 'main')).not.toBe('paused')
  })

  test('who may see one secret sees that one only', async () => {
    await on.server.secret('shop', 'other')
    const { key } = await on.server.apiKey({
      name: 'one only',
      scopes: ['realm:read', 'secret:read', 'secret:write', 'token:read'],
      realms: ['shop'],
      keys: ['main'],
    })
    const visitor = await on.visitor()
    visitor.expectRefusals(403)
    const { page } = visitor
    await visitor.signIn('/secrets', key)
    await page.getByRole('link', { name: 'shop / main' }).waitFor()
    expect(await page.getByRole('link', { name: 'shop / other' }).count()).toBe(0)
    await visitor.turnTo('/secrets/shop/main')
    await page.getByRole('button', { name: say('Show the token') }).waitFor()
    await page.getByRole('button', { name: say('Pause') }).waitFor()
    expect(await page.getByRole('button', { name: say('Renew now') }).count()).toBe(0)
    await visitor.turnTo('/secrets/shop/other')
    await page.locator('.problem').first().waitFor()
    expect(await page.getByRole('button', { name: say('Pause') }).count()).toBe(0)
  })

  test('who may only read the audit is offered that, and told that there is nothing else', async () => {
    const { key } = await on.server.apiKey({ name: 'auditor', scopes: ['audit:read'] })
    const visitor = await on.visitor()
    const { page } = visitor
    await visitor.signIn('/', key)
    await page.getByText(say('Your key may not read secrets, so there is nothing to show here. Its pages are in the navigation.')).waitFor()
    expect(await visitor.pagesOffered()).toEqual(['/console/audit'])
    await visitor.choose(say('Audit'))
    await page.getByRole('heading', { name: say('Audit'), level: 1 }).waitFor()
    await page.locator('tbody tr.ant-table-row').first().waitFor()
  })
})
