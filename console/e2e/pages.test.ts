import { describe, expect, test } from 'vitest'
import { DESKTOP, PHONE } from './kit/browser.ts'
import { PAGES } from './kit/pages.ts'
import { prepared } from './kit/prepared.ts'
import { stage } from './kit/walk.ts'

const LOOKS = [
  { language: 'en', theme: 'light', ...DESKTOP },
  { language: 'zh', theme: 'dark', ...DESKTOP },
  { language: 'en', theme: 'dark', ...PHONE },
  { language: 'zh', theme: 'light', ...PHONE },
] as const

describe('every page', () => {
  const on = stage('sqlite', prepared)

  test.each(LOOKS)('has no barrier and no sideways scrolling in $language, $theme, $width wide', async (look) => {
    const visitor = await on.signedIn('/start', look)
    const { page } = visitor
    const found: string[] = []
    for (const { path, name, ready } of PAGES) {
      await visitor.turnTo(path)
      await ready(page)
      found.push(...(await visitor.barriers()).map((barrier) => `${name}: ${barrier}`))
      const overflow = await visitor.overflow()
      if (overflow > 0) found.push(`${name} is ${overflow} pixels too wide`)
    }
    expect(found).toEqual([])
    expect(await page.locator('html').getAttribute('lang')).toBe(look.language === 'zh' ? 'zh-Hans' : 'en')
    expect(await page.locator('nav#pages').textContent()).toMatch(look.language === 'zh' ? /概览/ : /Overview/)
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
    const visitor = await on.visitor()
    const { page } = visitor
    await visitor.go('/')
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
