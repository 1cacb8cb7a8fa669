import { describe, expect, test } from 'vitest'
import { RUNS } from './kit/runs.ts'
import { stage } from './kit/walk.ts'
import { words } from './kit/words.ts'

/** What changes at a provider is seen within so long; the median of some rounds is held to it. */
const LIVE_MS = 2_000
const ROUNDS = 3

describe.each(RUNS)('secrets, on $name', (run) => {
  const say = words(run.look.language)
  const on = stage(run, async (server, provider) => {
    await server.realm('shop', provider.document)
  })

  test('a secret is made by the form of its realm, and its token is shown when it is asked for', async () => {
    const { page } = await on.signedIn('/new-secret?realm=shop')
    await page.getByLabel(say('Name of the secret')).fill('first')
    await page.getByRole('button', { name: say('Save') }).click()
    await page.getByText(say('This is needed.')).first().waitFor()
    await page.getByLabel('Client ID').fill('id-1')
    await page.getByLabel('Client secret').fill('not-a-secret')
    await page.getByRole('button', { name: say('Save') }).click()
    await page.getByText(say('Active', 'whole')).first().waitFor()
    expect(await page.content()).not.toContain('made-for-tests')
    await page.getByRole('button', { name: say('Show the token') }).click()
    await page.locator('.token-value').getByLabel(say('The token', 'whole')).waitFor()
    expect(await page.locator('.token-value').getByLabel(say('The token', 'whole')).textContent()).toContain('made-for-tests')
    await page.getByRole('button', { name: say('Hide') }).click()
    expect(await page.content()).not.toContain('made-for-tests')
    const { data } = await on.server.call<{ data: { list: unknown[] } }>('GET', '/api/audit?action=token.read&target=shop/first')
    expect(data.list.length).toBeGreaterThan(0)
  })

  test('a secret is renewed, paused, resumed, changed and deleted', async () => {
    await on.server.secret('shop', 'second')
    const visitor = await on.signedIn('/secrets/shop/second')
    // The event of its deletion may come before the page is left.
    visitor.expectRefusals(404)
    const { page } = visitor
    await page.getByText(say('Active', 'whole')).first().waitFor()
    await page.getByRole('button', { name: say('Pause') }).click()
    await page.getByText(say('Paused', 'whole')).first().waitFor()
    await page.getByRole('button', { name: say('Resume') }).click()
    await page.getByText(say('Active', 'whole')).first().waitFor()
    await page.getByRole('button', { name: say('Renew now') }).click()
    await page.getByText(say('Renewed: this is generation {{generation}}.')).waitFor()
    await page.getByRole('button', { name: say('Report as refused') }).click()
    await page.getByRole('dialog').getByRole('button', { name: say('Report as refused') }).click()
    await page.getByText(say('Renewed: this is generation {{generation}}.')).waitFor()

    await page.getByRole('button', { name: say('Edit') }).click()
    const dialog = page.getByRole('dialog')
    expect(await dialog.getByLabel('Client secret').inputValue()).not.toContain('not-a-secret')
    await dialog.getByLabel('Client ID').fill('id-2')
    await dialog.getByRole('button', { name: say('Compare and save') }).click()
    await page.getByText('id-2').waitFor()
    await page.getByRole('button', { name: say('Save', 'whole') }).click()
    await page.getByText(say('Saved.')).waitFor()
    const saved = await on.server.call<{ data: { list: { after: unknown }[] } }>('GET', '/api/audit?action=secret.save&target=shop/second')
    expect(JSON.stringify(saved.data.list[0]?.after)).toContain('id-2')

    await page.getByRole('button', { name: say('Delete', 'whole') }).click()
    await page.getByRole('dialog').getByLabel(say('Type second to confirm')).fill('second')
    await page.getByRole('dialog').getByRole('button', { name: say('Delete') }).click()
    await page.getByRole('heading', { name: say('Secrets'), level: 1 }).waitFor()
    await expect(on.server.stateOf('shop', 'second')).rejects.toThrow('404')
  })

  test('a provider that fails and recovers is seen within two seconds, without loading the page anew', async () => {
    await on.server.secret('shop', 'third')
    const visitor = await on.signedIn('/secrets/shop/third')
    const { page } = visitor
    await visitor.openMenu()
    await page.getByText(say('Live', 'whole')).waitFor()
    await page.getByText(say('Active', 'whole')).first().waitFor()
    const refused = page.getByRole('heading', { name: say('Provider refuses the credentials') })
    const seen: Record<'failing' | 'recovered', number[]> = { failing: [], recovered: [] }
    // Saving makes an attempt due; the time begins with the provider's answer to it.
    const after = async (answers: 'refusal' | 'token', see: () => Promise<void>) => {
      on.provider.answers = answers
      await on.server.secret('shop', 'third', `for ${answers}`)
      await see()
      return performance.now() - on.provider.answeredAt
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      seen.failing.push(await after('refusal', () => refused.waitFor()))
      await page.getByText(say('Correct the secret or the realm. It is tried again as soon as you save.')).waitFor()
      seen.recovered.push(await after('token', () => refused.waitFor({ state: 'detached' })))
      await page.getByText(say('Active', 'whole')).first().waitFor()
    }
    const median = (all: number[]) => Math.round([...all].sort((one, other) => one - other)[Math.floor(ROUNDS / 2)] ?? Infinity)
    console.info(`${run.name}: a failure was seen after ${median(seen.failing)} ms, the recovery after ${median(seen.recovered)} ms`)
    expect(median(seen.failing)).toBeLessThan(LIVE_MS)
    expect(median(seen.recovered)).toBeLessThan(LIVE_MS)
  })

  test('a token that somebody has is typed in, and served as it is', async () => {
    const { page } = await on.signedIn('/new-realm')
    await page.getByLabel(say('Name of the realm')).fill('typed')
    await page.getByRole('button', { name: say('Fixed tokens') }).click()
    await page.getByRole('button', { name: say('Save', 'whole') }).click()
    await page.getByRole('link', { name: say('Add a secret') }).click()
    await page.getByLabel(say('Name of the secret')).fill('mine')
    await page.getByLabel(say('Token *')).fill('typed-by-hand')
    await page.getByRole('button', { name: say('Save', 'whole') }).click()
    await page.getByText(say('Fixed', 'whole')).first().waitFor()
    const { token } = await on.server.call<{ token: string }>('GET', '/api/token?realm=typed&key=mine')
    expect(token).toBe('typed-by-hand')
  })

  test('a list is filtered and paged by the server', async () => {
    for (let at = 0; at < 25; at += 1) await on.server.secret('shop', `many-${at}`)
    const { page } = await on.signedIn('/secrets?text=many')
    await page.getByText(say('1 to 20 of 25')).waitFor()
    expect(await page.locator('tbody tr.ant-table-row').count()).toBe(20)
    await page.getByRole('listitem', { name: '2' }).click()
    await page.getByText(say('21 to 25 of 25')).waitFor()
    await page.getByLabel(say('Part of the key')).fill('many-17')
    await page.getByRole('link', { name: 'shop / many-17' }).waitFor()
    expect(await page.locator('tbody tr.ant-table-row').count()).toBe(1)
    await page.getByLabel(say('State')).selectOption('paused')
    await page.getByText(say('No secret fits these filters.')).waitFor()
    await page.getByLabel(say('State')).selectOption('active')
    await page.getByRole('link', { name: 'shop / many-17' }).waitFor()
    await page.getByLabel(say('Realm')).selectOption('shop')
    await page.getByRole('link', { name: 'shop / many-17' }).waitFor()
    await page.getByLabel(say('Part of the key')).fill('nothing like it')
    await page.getByText(say('No secret fits these filters.')).waitFor()
    await page.getByRole('link', { name: say('Show all') }).click()
    await page.getByText(say('1 to 20 of {{all}}')).waitFor()
  })
})
