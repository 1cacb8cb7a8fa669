import type { Page } from 'playwright-core'

export interface Walked {
  path: string
  /** For files of screenshots. */
  name: string
  ready: (page: Page) => Promise<unknown>
}

const heading = (page: Page) => page.locator('h1').waitFor()
const at = (path: string, name: string, selector: string): Walked => ({
  path,
  name,
  ready: async (page) => {
    await heading(page)
    await page.locator(selector).first().waitFor()
  },
})

/** Every page, and what is there when it is complete. */
export const PAGES: Walked[] = [
  at('/', 'overview', '.counts'),
  at('/start', 'start', '.presets'),
  at('/realms', 'realms', 'table'),
  at('/new-realm', 'new-realm', 'fieldset'),
  at('/presets', 'presets', '.presets'),
  at('/presets/wechat_oa', 'preset', 'aside'),
  at('/realms/shop', 'realm', '.cm-content'),
  at('/secrets', 'secrets', 'table'),
  at('/secrets?state=paused', 'secrets-empty', '.empty'),
  at('/secrets/shop/main', 'secret', 'table'),
  at('/secrets/shop/broken', 'secret-failing', '.problem'),
  at('/new-secret?realm=shop', 'new-secret', 'form'),
  at('/renewals', 'renewals', '.bars'),
  at('/access', 'access', 'table'),
  at('/issuers', 'issuers', '.empty'),
  at('/audit', 'audit', 'table'),
  at('/settings', 'settings', 'table'),
]
