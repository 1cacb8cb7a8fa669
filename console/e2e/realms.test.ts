import { describe, expect, test } from 'vitest'
import { RUNS } from './kit/runs.ts'
import { stage } from './kit/walk.ts'
import { words } from './kit/words.ts'

describe.each(RUNS)('realms, on $name', (run) => {
  const say = words(run.look.language)
  const on = stage(run, async (server, provider) => {
    await server.realm('shop', provider.document)
    await server.secret('shop', 'main')
  })

  test('a realm is described by a form, tried, and saved', async () => {
    const { page } = await on.signedIn('/new-realm')
    await page.getByLabel(say('Name of the realm')).fill('mine')
    await page.getByLabel(say('URL of the token request')).fill(on.provider.url)
    await page.getByLabel('Client ID').fill('id-1')
    await page.getByLabel('Client secret').fill('not-a-secret')
    await page.getByRole('button', { name: say('Show the request') }).click()
    const request = page.getByLabel(say('Request', 'whole'))
    await request.waitFor()
    expect(await request.textContent()).toContain(`POST ${on.provider.url}`)
    expect(await request.textContent()).not.toContain('not-a-secret')
    await page.getByRole('button', { name: say('Send it') }).click()
    await page.getByText(say('A token would be stored.')).waitFor()
    await page.getByRole('button', { name: say('Compare and save') }).click()
    await page.getByRole('button', { name: say('Save', 'whole') }).click()
    await page.getByRole('heading', { name: 'mine', level: 1 }).waitFor()
    const { data } = await on.server.call<{ data: { config: { url: string } } }>('GET', '/api/realm/mine')
    expect(data.config.url).toBe(on.provider.url)
  })

  test('a fault is shown where it is in the document, and names are offered', async () => {
    const visitor = await on.signedIn('/realms/shop')
    visitor.expectRefusals(422)
    const { page } = visitor
    const editor = page.locator('.cm-content')
    await editor.waitFor()
    await editor.fill(JSON.stringify({ ...on.provider.document, method: 'FETCH' }, null, 2))
    await page.getByRole('button', { name: say('Show the request') }).click()
    await page.getByText(say('The server does not accept the document')).waitFor()
    await page.locator('.cm-lintRange-error').filter({ hasText: 'FETCH' }).waitFor()
    await editor.fill('{\n  "token_p"\n}')
    await editor.press('Control+Home')
    for (let right = 0; right < 11; right += 1) await editor.press('ArrowRight')
    await editor.press('Control+Space')
    await page.locator('.cm-tooltip-autocomplete').filter({ hasText: 'token_path' }).waitFor()
  })

  test('deleting a realm says what goes with it, and wants its name first', async () => {
    await on.server.realm('doomed', on.provider.document)
    await on.server.secret('doomed', 'one')
    const { page } = await on.signedIn('/realms/doomed')
    await page.getByRole('button', { name: say('Delete', 'whole') }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText(say('1 secret belongs to it, and is deleted with its token.')).waitFor()
    const confirm = dialog.getByRole('button', { name: say('Delete') })
    expect(await confirm.isDisabled()).toBe(true)
    await dialog.getByLabel(say('Type doomed to confirm')).fill('doomed')
    await confirm.click()
    await page.getByRole('heading', { name: say('Realms'), level: 1 }).waitFor()
    await expect(on.server.stateOf('doomed', 'one')).rejects.toThrow('404')
  })
})
