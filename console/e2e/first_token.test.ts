import { describe, expect, test } from 'vitest'
import { eventually } from './kit/eventually.ts'
import { RUNS } from './kit/runs.ts'
import { stage } from './kit/walk.ts'
import { words } from './kit/words.ts'

const CLICKS_MAX = 12

describe.each(RUNS)('an empty server, on $name', (run) => {
  const say = words(run.look.language)
  const on = stage(run)

  test('leads from a preset to a token and a command that works, in at most twelve clicks', async () => {
    const visitor = await on.visitor()
    const { page } = visitor
    let clicks = 1
    await visitor.signIn()
    const click = async (role: 'button' | 'link', name: string | RegExp) => {
      clicks += 1
      await page.getByRole(role, { name }).first().click()
    }
    await page.getByRole('heading', { name: say('Connect your first provider') }).waitFor()
    await page.getByLabel(say('Provider', 'whole')).fill('keycloak')
    await click('link', /^Keycloak/)
    await page.getByLabel('Host of the server').fill(on.provider.secureHost)
    await page.getByLabel('Name of the Keycloak realm').fill('staff')
    await page.getByLabel('Client ID').fill('id-1')
    await page.getByLabel('Client secret').fill('not-a-secret')
    await page.getByLabel(say('Name of the realm')).fill('identity')
    await click('button', say('Save and get a token'))
    await page.getByText(say('The provider issued a token. It is renewed before it ends from now on.')).waitFor()
    await click('button', say('Show the token'))
    const token = await page.getByLabel(say('The token', 'whole')).textContent()
    expect(token).toMatch(/^made-for-tests-\d+$/)
    await click('button', say('Make the key'))
    const key = await eventually('the key', async () => (await page.getByLabel(say('API key', 'whole')).textContent()) ?? undefined)
    const command = (await page.getByLabel('curl', { exact: true }).textContent()) ?? ''
    console.info(`${run.name}: ${clicks} clicks from the sign-in to a token and a command`)
    expect(clicks).toBeLessThanOrEqual(CLICKS_MAX)
    // What the command asks for, with the key that it shows.
    expect(command).toContain(key)
    const [, asked = ''] = /(\/api\/token\?[^'"\s]+)/.exec(command) ?? []
    const read = await on.server.call<{ token: string }>('GET', asked, undefined, key)
    expect(read.token).toBe(token)
  })

  test('says in words that a provider is not reached, and how a realm is changed then', async () => {
    const { page } = await on.signedIn('/presets/lufthansa')
    await page.getByLabel('Client key of the application').fill('id-1')
    await page.getByLabel('Secret of the application').fill('not-a-secret')
    await page.getByLabel(say('Name of the realm')).fill('flights')
    await page.getByRole('button', { name: say('Save and get a token') }).click()
    // The provider of the preset is out of reach here.
    await page.getByText(say('Provider not reached', 'whole')).waitFor()
    await page.getByRole('link', { name: say("Open the secret's page") }).click()
    await page.getByRole('heading', { name: 'flights / main', level: 1 }).waitFor()

    await page.goto(`${on.server.origin}/console/realms/flights`)
    const editor = page.locator('.cm-content')
    await editor.waitFor()
    const realm = await on.server.call<{ data: { config: object } }>('GET', '/api/realm/flights')
    await editor.fill(JSON.stringify({ ...realm.data.config, url: on.provider.url }, null, 2))
    await page.getByRole('button', { name: say('Compare and save') }).click()
    await page.locator('.diff .new').filter({ hasText: on.provider.url }).waitFor()
    await page.getByRole('button', { name: say('Save', 'whole') }).click()
    await page.getByRole('link', { name: say('1 secret') }).click()
    await page.getByRole('link', { name: 'flights / main' }).click()
    await page.getByText(say('Active', 'whole')).first().waitFor()
  })

  test('a preset is found by any name that its provider has', async () => {
    const { page } = await on.signedIn('/presets')
    await page.getByLabel(say('Provider', 'whole')).fill('公众号')
    await page.locator('a.preset').filter({ hasText: 'wechat' }).or(page.locator('a.preset').filter({ hasText: /WeChat|微信/ })).first().waitFor()
    await page.getByLabel(say('Provider', 'whole')).fill('no provider is called that')
    await page.getByText(say('No preset has that name.')).waitFor()
    await page.getByRole('link', { name: say('Describe the provider yourself') }).click()
    await page.getByRole('heading', { name: say('New realm'), level: 1 }).waitFor()
  })
})
