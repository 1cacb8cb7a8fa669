// Pictures of the running console for README.md and the book, in docs/src/images/: npm run pictures
import { mkdirSync } from 'node:fs'
import { test } from 'vitest'
import type { Page } from 'playwright-core'
import { prepared } from './kit/prepared.ts'
import { stage } from './kit/walk.ts'

const SIZE = { width: 1100, height: 720 }

const folder = new URL('../../docs/src/images/', import.meta.url).pathname
const on = stage({ kind: 'sqlite', look: SIZE }, prepared)

const PICTURES: { name: string; path: string; prepare: (page: Page) => Promise<unknown> }[] = [
  { name: 'console-overview', path: '/', prepare: (page) => page.locator('.count').first().waitFor() },
  { name: 'console-secret', path: '/secrets/shop/main', prepare: (page) => page.locator('table tbody tr').last().waitFor() },
  {
    name: 'console-preset',
    path: '/presets/keycloak',
    prepare: async (page) => {
      await page.getByLabel('Host of the server').fill('sso.example.com')
      await page.getByLabel('Name of the Keycloak realm').fill('staff')
      await page.getByLabel('Client ID').fill('payroll')
      await page.getByLabel('Client secret').fill('not-a-secret')
    },
  },
  { name: 'console-renewals', path: '/renewals', prepare: (page) => page.locator('.bars').first().waitFor() },
]

test('pictures of the pages that the documents show', async () => {
  mkdirSync(folder, { recursive: true })
  const visitor = await on.signedIn('/', { language: 'en', theme: 'light', ...SIZE })
  for (const { name, path, prepare } of PICTURES) {
    await visitor.turnTo(path)
    await prepare(visitor.page)
    await visitor.page.screenshot({ path: `${folder}${name}.png`, animations: 'disabled' })
  }
})
