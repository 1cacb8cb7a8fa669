import { mkdirSync } from 'node:fs'
import { test } from 'vitest'
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

const folder = new URL('../screenshots/', import.meta.url).pathname
const on = stage('sqlite', prepared)

test.each(LOOKS)('pictures in $language, $theme, $width wide', async (look) => {
  mkdirSync(folder, { recursive: true })
  const end = `${look.width === PHONE.width ? 'phone' : 'desktop'}-${look.theme}-${look.language}.png`
  const visitor = await on.visitor(look)
  await visitor.go('/')
  await visitor.page.locator('input[type=password]').waitFor()
  await visitor.page.screenshot({ path: `${folder}sign-in-${end}` })
  await visitor.signIn()
  for (const { path, name, ready } of PAGES) {
    await visitor.go(path)
    await ready(visitor.page)
    await visitor.page.screenshot({ path: `${folder}${name}-${end}`, fullPage: true })
  }
})
