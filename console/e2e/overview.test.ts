import { describe, expect, test } from 'vitest'
import { prepared } from './kit/prepared.ts'
import { RUNS } from './kit/runs.ts'
import { stage } from './kit/walk.ts'
import { words } from './kit/words.ts'

describe.each(RUNS)('overview, history and settings, on $name', (run) => {
  const say = words(run.look.language)
  const on = stage(run, prepared)

  test('what fails comes first, with the reason, and each count leads to its secrets', async () => {
    const visitor = await on.signedIn()
    const { page } = visitor
    const failing = page.locator('section').filter({ has: page.getByRole('heading', { name: say('What fails') }) })
    await failing.getByRole('link', { name: 'shop / broken' }).waitFor()
    await failing.getByText(say('Provider refuses the credentials')).waitFor()
    await page.getByRole('heading', { name: say('Due next') }).waitFor()
    await page.getByRole('heading', { name: say('The last 24 hours') }).waitFor()
    await page.getByRole('heading', { name: say('This server') }).waitFor()
    await page.locator('.counts').getByRole('link', { name: say('Needs attention') }).click()
    await page.getByRole('heading', { name: say('Secrets'), level: 1 }).waitFor()
    await page.getByRole('link', { name: 'shop / broken' }).waitFor()
    expect(await page.locator('tbody tr.ant-table-row').count()).toBe(1)
    await page.getByRole('link', { name: 'shop / broken' }).click()
    await page.getByRole('heading', { name: 'shop / broken', level: 1 }).waitFor()
    await page.getByRole('link', { name: say('All attempts') }).click()
    await page.getByRole('heading', { name: say('Failures over time') }).waitFor()
    await page.getByRole('link', { name: 'shop / broken' }).first().click()
    await page.getByRole('heading', { name: 'shop / broken', level: 1 }).waitFor()
  })

  test('realms are listed with their health', async () => {
    const { page } = await on.signedIn('/realms')
    const shop = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'shop', exact: true }) })
    await shop.getByText(say('1 secret fails')).waitFor()
    const office = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'office', exact: true }) })
    await office.getByText(say('Nothing fails')).waitFor()
  })

  test('the settings name the key that seals, and show no secret', async () => {
    const { page } = await on.signedIn('/settings')
    await page.getByRole('row').filter({ hasText: 'k1' }).getByText(say('Seals', 'whole')).waitFor()
    await page.getByLabel(say('Part of the name')).fill('session_idle')
    await page.getByRole('row').filter({ hasText: 'console.session_idle_s' }).waitFor()
    await page.getByLabel(say('Part of the name')).fill('')
    await page.getByRole('row').filter({ hasText: 'http.listen' }).waitFor()
    expect(await page.content()).not.toContain(on.server.key)
    await page.getByLabel(say('Part of the name')).fill('nothing is called that')
    await page.getByText(say('No setting fits.')).waitFor()
  })
})
