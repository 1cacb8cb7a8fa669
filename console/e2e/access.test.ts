import { describe, expect, test } from 'vitest'
import { DATABASES } from './kit/database.ts'
import { eventually } from './kit/eventually.ts'
import { stage } from './kit/walk.ts'

describe.each(DATABASES)('access, renewals and the audit, on %s', (kind) => {
  const on = stage(kind, async (server, provider) => {
    await server.realm('shop', provider.document)
    await server.secret('shop', 'main')
    await server.secret('shop', 'other')
    await eventually('a token', async () => (await server.stateOf('shop', 'main')) === 'active')
  })

  test('a key is made with a view of what it reaches, shown once, and revoked', async () => {
    const { page } = await on.signedIn('/access')
    await page.getByRole('button', { name: 'New API key' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Name *').fill('storefront')
    await dialog.getByLabel('Realms', { exact: true }).fill('sh*')
    await dialog.getByLabel('Secret keys', { exact: true }).fill('main')
    await dialog.getByText('1 secret: shop / main').waitFor()
    await dialog.getByRole('button', { name: 'Make the key' }).click()
    const shown = dialog.getByLabel('API key', { exact: true })
    await shown.waitFor()
    const key = (await shown.textContent()) ?? ''
    await on.server.call('GET', '/api/token?realm=shop&key=main', undefined, key)
    await expect(on.server.call('GET', '/api/token?realm=shop&key=other', undefined, key)).rejects.toThrow('403')
    await dialog.getByRole('button', { name: 'I have copied it' }).click()
    expect(await page.content()).not.toContain(key)
    await page.getByRole('button', { name: 'Revoke storefront' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
    await page.getByText('Revoked', { exact: true }).waitFor()
    await expect(on.server.call('GET', '/api/token?realm=shop&key=main', undefined, key)).rejects.toThrow('401')
  })

  test('an issuer is registered, changed and deleted', async () => {
    const { page } = await on.signedIn('/issuers')
    await page.getByRole('button', { name: 'Register an issuer' }).first().click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Name').fill('builds')
    await dialog.getByLabel('Issuer', { exact: true }).fill('https://issuer.example')
    await dialog.getByLabel('Audiences').fill('token-server')
    await dialog.getByLabel('URL of its keys').fill('https://issuer.example/keys')
    await dialog.getByLabel('Condition').fill("claims.sub == 'a'")
    await dialog.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('button', { name: 'Delete builds' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.getByText('No issuer is registered.', { exact: false }).waitFor()
  })

  test('the history is filtered, and what is due is renewed by hand', async () => {
    const { page } = await on.signedIn('/renewals')
    await page.getByRole('heading', { name: 'How long attempts took' }).waitFor()
    await page.getByLabel('Outcome').selectOption('failed')
    await page.getByText('No attempt fits these filters.').waitFor()
    await page.getByRole('link', { name: 'Show all' }).click()
    await page.getByRole('link', { name: 'shop / main' }).first().waitFor()
    await page.getByRole('button', { name: 'Renew what is due' }).click()
    await page.getByText('Nothing was due.').waitFor()
  })

  test('the audit shows what a change replaced, and is saved as a file', async () => {
    await on.server.call('POST', '/api/realm', { id: 'shop', config: { ...on.provider.document, method: 'PUT' } })
    const { page } = await on.signedIn('/audit?action=realm.save')
    await page.getByRole('button', { name: /Expand row/i }).first().click()
    await page.locator('.diff .new').filter({ hasText: 'PUT' }).first().waitFor()
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export' }).click()])
    expect(download.suggestedFilename()).toMatch(/^audit-.*\.jsonl$/)
    await page.getByText(/\d+ entr(y is|ies are) saved\./).waitFor()
  })
})
