import { describe, expect, test } from 'vitest'
import { DESKTOP, PHONE } from './kit/browser.ts'
import { eventually } from './kit/eventually.ts'
import { PAGES } from './kit/pages.ts'
import { prepared } from './kit/prepared.ts'
import { stage } from './kit/walk.ts'

const LOOKS = [
  { language: 'en', theme: 'light', ...DESKTOP },
  { language: 'zh', theme: 'dark', ...DESKTOP },
  { language: 'en', theme: 'dark', ...PHONE },
  { language: 'zh', theme: 'light', ...PHONE },
] as const

describe.each(LOOKS)('in $language, $theme, $width wide', (look) => {
  const on = stage('sqlite', prepared)

  test.each(PAGES)('$path has no barrier, no sideways scrolling and nothing in another language', async ({ path, ready }) => {
    const visitor = await on.signedIn(path, look)
    await ready(visitor.page)
    await visitor.page.waitForLoadState('networkidle').catch(() => undefined)
    expect(await visitor.barriers()).toEqual([])
    expect(await visitor.overflow()).toBeLessThanOrEqual(0)
    expect(await visitor.page.title()).toContain('token-server')
    const lang = await visitor.page.locator('html').getAttribute('lang')
    expect(lang).toBe(look.language === 'zh' ? 'zh-Hans' : 'en')
    await eventually('a heading in the language of the page', async () => {
      const navigation = await visitor.page.locator('nav#pages').textContent()
      return look.language === 'zh' ? /概览/.test(navigation ?? '') : /Overview/.test(navigation ?? '')
    })
  })
})

describe('the sign-in', () => {
  const on = stage('sqlite')

  test.each(LOOKS)('has no barrier in $language, $theme, $width wide', async (look) => {
    const visitor = await on.visitor(look)
    await visitor.go('/')
    await visitor.page.locator('input[type=password]').waitFor()
    expect(await visitor.barriers()).toEqual([])
    expect(await visitor.overflow()).toBeLessThanOrEqual(0)
  })

  test('language and theme can be chosen, and are kept', async () => {
    const { page, ...rest } = await on.visitor()
    void rest
    await page.goto(`${on.server.origin}/console`)
    await page.getByLabel('Language').selectOption('zh')
    await page.getByRole('heading', { name: '登录 token-server' }).waitFor()
    await page.getByLabel('主题').selectOption('dark')
    await page.reload()
    await page.getByRole('heading', { name: '登录 token-server' }).waitFor()
    expect(await page.locator('html').getAttribute('data-theme')).toBe('dark')
  })

  test('everything is reached by the keyboard, and the first step leads to the content', async () => {
    const { page } = await on.signedIn('/realms')
    await page.getByRole('heading', { name: 'Realms', level: 1 }).waitFor()
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur())
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the content')
    await page.keyboard.press('Enter')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('content')
  })
})
