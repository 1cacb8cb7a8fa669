import { describe, expect, test } from 'vitest'
import { eventually } from './kit/eventually.ts'
import { RUNS } from './kit/runs.ts'
import { stage } from './kit/walk.ts'
import { words } from './kit/words.ts'

describe.each(RUNS)('access, renewals and the audit, on $name', (run) => {
  const say = words(run.look.language)
  const on = stage(run, async (server, provider) => {
    await server.realm('shop', provider.document)
    await server.secret('shop', 'main')
    await server.secret('shop', 'other')
    await eventually('a token', async () => (await server.stateOf('shop', 'main')) === 'active')
  })

  test('a key is made with a view of what it reaches, shown once, and revoked', async () => {
    const { page } = await on.signedIn('/access')
    await page.getByRole('button', { name: say('New API key') }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel(say('Name *')).fill('storefront')
    await dialog.getByLabel(say('Realms', 'whole')).fill('sh*')
    await dialog.getByLabel(say('Secret keys', 'whole')).fill('main')
    await dialog.getByText(run.look.language === 'en' ? '1 secret: shop / main' : /1 .*shop \/ main/).waitFor()
    await dialog.getByRole('button', { name: say('Make the key') }).click()
    const shown = dialog.getByLabel(say('API key', 'whole'))
    await shown.waitFor()
    const key = (await shown.textContent()) ?? ''
    await on.server.call('GET', '/api/token?realm=shop&key=main', undefined, key)
    await expect(on.server.call('GET', '/api/token?realm=shop&key=other', undefined, key)).rejects.toThrow('403')
    await dialog.getByRole('button', { name: say('I have copied it') }).click()
    expect(await page.content()).not.toContain(key)
    await page.getByRole('button', { name: say('Revoke storefront') }).click()
    await page.getByRole('dialog').getByRole('button', { name: say('Revoke') }).click()
    await page.getByText(say('Revoked', 'whole')).waitFor()
    await expect(on.server.call('GET', '/api/token?realm=shop&key=main', undefined, key)).rejects.toThrow('401')
  })

  test('an issuer is registered, changed and deleted', async () => {
    const { page } = await on.signedIn('/issuers')
    await page.getByRole('button', { name: say('Register an issuer') }).first().click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel(say('Name')).fill('builds')
    await dialog.getByLabel(say('Issuer', 'whole')).fill('https://issuer.example')
    await dialog.getByLabel(say('Audiences')).fill('token-server')
    await dialog.getByLabel(say('URL of its keys')).fill('https://issuer.example/keys')
    await dialog.getByLabel(say('Condition')).fill("claims.sub == 'a'")
    await dialog.getByRole('button', { name: say('Save') }).click()
    await page.getByRole('button', { name: say('Delete builds') }).click()
    await page.getByRole('dialog').getByRole('button', { name: say('Delete') }).click()
    await page.getByText(say('No issuer is registered. Kubernetes, GitHub Actions or any OpenID Connect provider can be one.')).waitFor()
  })

  test('the history is filtered, and what is due is renewed by hand', async () => {
    const { page } = await on.signedIn('/renewals')
    await page.getByRole('heading', { name: say('How long attempts took') }).waitFor()
    await page.getByLabel(say('Outcome')).selectOption('failed')
    await page.getByText(say('No attempt fits these filters.')).waitFor()
    await page.getByRole('link', { name: say('Show all') }).click()
    await page.getByRole('link', { name: say('shop / main') }).first().waitFor()
    await page.getByRole('button', { name: say('Renew what is due') }).click()
    await page.getByText(say('Nothing was due.')).waitFor()
  })

  test('the audit shows what a change replaced, and is saved as a file', async () => {
    await on.server.call('POST', '/api/realm', { id: 'shop', config: { ...on.provider.document, method: 'PUT' } })
    const { page } = await on.signedIn('/audit?action=realm.save')
    await page.locator('.ant-table-row-expand-icon').first().click()
    await page.locator('.diff .new').filter({ hasText: 'PUT' }).first().waitFor()
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: say('Export') }).click()])
    expect(download.suggestedFilename()).toMatch(/^audit-.*\.jsonl$/)
    await page.getByText(say('{{count}} entries are saved.')).waitFor()
  })
})
