import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBrowser, Visitor } from './kit/browser.ts'
import { OpenIdProvider, PUBLIC_HOST } from './kit/oidc.ts'
import { RUNS } from './kit/runs.ts'
import { Server } from './kit/server.ts'
import { visitors } from './kit/walk.ts'
import { words } from './kit/words.ts'

describe.each(RUNS)('signing in by OpenID Connect, on $name', (run) => {
  const say = words(run.look.language)
  const parts = {} as { provider: OpenIdProvider; server: Server; browser: Browser }
  const comes = visitors()
  beforeAll(async () => {
    parts.provider = await OpenIdProvider.start()
    parts.server = await Server.start(run.kind, parts.provider.settings())
    // The provider leads back to a name, as providers do. Its own page asks others for fonts: there is nobody else.
    const { host } = new URL(parts.server.origin)
    parts.server.origin = `http://${PUBLIC_HOST}`
    parts.browser = await openBrowser([
      `--host-resolver-rules=MAP ${PUBLIC_HOST} ${host}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
      '--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable',
      // As by TLS, without which some headers count for nothing.
      `--unsafely-treat-insecure-origin-as-secure=${parts.server.origin}`,
    ])
  })
  afterAll(async () => {
    await parts.browser?.close()
    await parts.server?.stop()
    parts.provider?.stop()
  })

  /** Goes to a page, and to the provider from there; signs in as somebody, and comes back. */
  async function signInAs(name: string, path: string): Promise<Visitor> {
    const visitor = comes(await Visitor.come(parts.browser, parts.server, run.look))
    visitor.goesTo(parts.provider.issuer)
    const { page } = visitor
    await visitor.go(path)
    await page.getByRole('link', { name: say('Sign in with Example ID') }).click()
    await atProvider(page, name)
    return visitor
  }

  /** Its page asks who it is, and whether this server may know. */
  async function atProvider(page: Page, name: string) {
    await page.waitForURL(`${parts.provider.issuer}/interaction/**`)
    await page.locator('input[name=login]').fill(name)
    await page.locator('input[name=password]').fill('any')
    await page.locator('button[type=submit]').click()
    await page.locator('input[name=login]').waitFor({ state: 'detached' })
    await page.locator('button[type=submit]').click()
  }

  test('who signs in at the provider comes back to the page that was asked for, and stays signed in', async () => {
    const visitor = await signInAs('alice', '/secrets')
    const { page } = visitor
    await page.getByRole('heading', { name: say('Secrets', 'whole') }).waitFor()
    expect(new URL(page.url()).pathname).toBe('/console/secrets')
    await page.reload()
    await page.getByRole('heading', { name: say('Secrets', 'whole') }).waitFor()
    expect(await visitor.pagesOffered()).toContain('/console/settings')
    await visitor.openMenu()
    await page.getByText('oidc:alice').waitFor()
    await page.getByRole('button', { name: say('Sign out') }).click()
    await page.getByRole('link', { name: say('Sign in with Example ID') }).waitFor()
    await page.reload()
    await page.getByRole('link', { name: say('Sign in with Example ID') }).waitFor()
  })

  test('who meets another rule is offered what that rule allows, and no more', async () => {
    const visitor = await signInAs('bob', '/')
    await visitor.page.locator('#content').waitFor()
    const offered = await visitor.pagesOffered()
    expect(offered).toContain('/console/secrets')
    expect(offered).not.toContain('/console/audit')
    expect(offered).not.toContain('/console/access')
  })

  test('who meets no rule is told so, and what to do', async () => {
    const visitor = await signInAs('carol', '/')
    const alert = visitor.page.getByRole('alert')
    await alert.getByText(say('The provider knows you, but no rule of this server gives you any right. Ask an administrator.')).waitFor()
    expect(new URL(visitor.page.url()).search).toBe('')
  })
})
