import { describe, expect, test } from 'vitest'
import { DESKTOP } from './kit/browser.ts'
import { DATABASES } from './kit/database.ts'
import { PAGES } from './kit/pages.ts'
import { prepared } from './kit/prepared.ts'
import { ALL_LOOKS, nameOf, RUNS } from './kit/runs.ts'
import { stage } from './kit/walk.ts'

const SEEN = DATABASES.flatMap((kind) =>
  (kind === 'sqlite' ? ALL_LOOKS : RUNS.filter((run) => run.kind === kind).map((run) => run.look)).map((look) => ({ kind, look, name: nameOf(look) })),
)

describe.each(DATABASES)('every page, on %s', (kind) => {
  const on = stage({ kind, look: DESKTOP }, prepared)

  test.each(SEEN.filter((seen) => seen.kind === kind))('has no barrier and no sideways scrolling in $name', async ({ look }) => {
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
  const on = stage({ kind: 'sqlite', look: DESKTOP })

  test.each(ALL_LOOKS.map((look) => ({ look, name: nameOf(look) })))('has no barrier in $name', async ({ look }) => {
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
