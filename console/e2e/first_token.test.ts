import { describe, expect, test } from 'vitest'
import { DATABASES } from './kit/database.ts'
import { eventually } from './kit/eventually.ts'
import { stage } from './kit/walk.ts'

describe.each(DATABASES)('an empty server, on %s', (kind) => {
  const on = stage(kind)

  test('leads from a provider to a token and a command that works, in at most twelve clicks', async () => {
    const { page } = await on.signedIn()
    let clicks = 0
    const click = async (role: 'button' | 'link', name: string | RegExp) => {
      clicks += 1
      await page.getByRole(role, { name }).first().click()
    }
    await page.getByRole('heading', { name: 'Connect your first provider' }).waitFor()
    await page.getByLabel('Provider', { exact: true }).fill('lufthansa')
    await click('link', /Lufthansa/)
    await page.getByLabel('Client key of the application').fill('id-1')
    await page.getByLabel('Secret of the application').fill('not-a-secret')
    await page.getByLabel('Name of the realm').fill('flights')
    await click('button', 'Save and get a token')
    // The provider of the preset is out of reach here: the page says so, in words.
    await page.getByText('Provider not reached').waitFor()

    // The realm is pointed at one that is within reach, by its document.
    await page.goto(`${on.server.origin}/console/realms/flights`)
    const editor = page.locator('.cm-content')
    await editor.waitFor()
    const realm = await on.server.call<{ data: { config: object } }>('GET', '/api/realm/flights')
    await editor.fill(JSON.stringify({ ...realm.data.config, url: on.provider.url }, null, 2))
    await click('button', 'Compare and save')
    await page.locator('.diff .new').filter({ hasText: on.provider.url }).waitFor()
    await click('button', /^Save$/)

    await click('link', '1 secret')
    await click('link', 'flights / main')
    await page.getByText('Active', { exact: true }).first().waitFor()
    await click('button', 'Show the token')
    const token = await page.getByLabel('The token', { exact: true }).textContent()
    expect(token).toMatch(/^made-for-tests-\d+$/)

    await click('link', 'Access')
    await click('button', 'New API key')
    await page.getByRole('dialog').getByLabel('Name *').fill('my application')
    await click('button', 'Make the key')
    const key = await eventually('the key', async () => (await page.getByLabel('API key', { exact: true }).textContent()) ?? undefined)
    expect(clicks).toBeLessThanOrEqual(12)
    const read = await on.server.call<{ token: string }>('GET', '/api/token?realm=flights&key=main', undefined, key)
    expect(read.token).toBe(token)
  })
})
