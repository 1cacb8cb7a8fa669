import { describe, expect, test } from 'vitest'
import { DATABASES } from './kit/database.ts'
import { WRONG } from './kit/provider.ts'
import { stage } from './kit/walk.ts'

describe.each(DATABASES)('secrets, on %s', (kind) => {
  const on = stage(kind, async (server, provider) => {
    await server.realm('shop', provider.document)
  })

  test('a secret is made by the form of its realm, and its token is shown when it is asked for', async () => {
    const { page } = await on.signedIn('/new-secret?realm=shop')
    await page.getByLabel('Name of the secret').fill('first')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('This is needed.').first().waitFor()
    await page.getByLabel('Client ID').fill('id-1')
    await page.getByLabel('Client secret').fill('not-a-secret')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Active', { exact: true }).first().waitFor()
    expect(await page.content()).not.toContain('made-for-tests')
    await page.getByRole('button', { name: 'Show the token' }).click()
    await page.getByLabel('The token', { exact: true }).waitFor()
    expect(await page.getByLabel('The token', { exact: true }).textContent()).toContain('made-for-tests')
    await page.getByRole('button', { name: 'Hide' }).click()
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
    await page.getByText('Active', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByText('Paused', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Resume' }).click()
    await page.getByText('Active', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'Report as refused' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Report as refused' }).click()
    await page.getByText(/Renewed: this is generation \d+/).waitFor()

    await page.getByRole('button', { name: 'Edit' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Client ID').fill('id-2')
    await dialog.getByRole('button', { name: 'Compare and save' }).click()
    await page.getByText('id-2').waitFor()
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await page.getByText('Saved.').waitFor()
    const saved = await on.server.call<{ data: { list: { after: unknown }[] } }>('GET', '/api/audit?action=secret.save&target=shop/second')
    expect(JSON.stringify(saved.data.list[0]?.after)).toContain('id-2')

    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await page.getByRole('dialog').getByLabel('Type second to confirm').fill('second')
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('heading', { name: 'Secrets', level: 1 }).waitFor()
    await expect(on.server.stateOf('shop', 'second')).rejects.toThrow('404')
  })

  test('a provider that fails and recovers is seen without loading the page anew', async () => {
    await on.server.secret('shop', 'third')
    const { page } = await on.signedIn('/secrets/shop/third')
    await page.getByText('Live', { exact: true }).waitFor()
    await page.getByText('Active', { exact: true }).first().waitFor()
    await on.server.call('POST', '/api/secret', { realm: 'shop', key: 'third', params: { client_secret: WRONG } })
    await page.getByRole('heading', { name: 'Provider refuses the credentials' }).waitFor()
    await page.getByText('Correct the secret or the realm.').waitFor()
    await on.server.call('POST', '/api/secret', { realm: 'shop', key: 'third', params: { client_secret: 'right' } })
    await page.getByRole('heading', { name: 'Provider refuses the credentials' }).waitFor({ state: 'detached' })
    await page.getByText('Active', { exact: true }).first().waitFor()
  })

  test('a token that somebody has is typed in, and served as it is', async () => {
    const { page } = await on.signedIn('/new-realm')
    await page.getByLabel('Name of the realm').fill('typed')
    await page.getByRole('button', { name: 'Fixed tokens' }).click()
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await page.getByRole('link', { name: 'Add a secret' }).click()
    await page.getByLabel('Name of the secret').fill('mine')
    await page.getByLabel('Token *').fill('typed-by-hand')
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await page.getByText('Fixed', { exact: true }).first().waitFor()
    const { token } = await on.server.call<{ token: string }>('GET', '/api/token?realm=typed&key=mine')
    expect(token).toBe('typed-by-hand')
  })

  test('a list is filtered and paged by the server', async () => {
    for (let at = 0; at < 25; at += 1) await on.server.secret('shop', `many-${at}`)
    const { page } = await on.signedIn('/secrets?text=many')
    await page.getByText('1 to 20 of 25').waitFor()
    expect(await page.locator('tbody tr.ant-table-row').count()).toBe(20)
    await page.getByRole('listitem', { name: '2' }).click()
    await page.getByText('21 to 25 of 25').waitFor()
    await page.getByLabel('Part of the key').fill('many-17')
    await page.getByRole('link', { name: 'shop / many-17' }).waitFor()
    expect(await page.locator('tbody tr.ant-table-row').count()).toBe(1)
    await page.getByLabel('Part of the key').fill('nothing like it')
    await page.getByText('No secret fits these filters.').waitFor()
    await page.getByRole('link', { name: 'Show all' }).click()
    await page.getByText(/1 to 20 of \d+/).waitFor()
  })
})
