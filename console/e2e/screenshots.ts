import { mkdirSync } from 'node:fs'
import { test } from 'vitest'
import { DESKTOP, PHONE } from './kit/browser.ts'
import { PAGES } from './kit/pages.ts'
import { prepared } from './kit/prepared.ts'
import { ALL_LOOKS, nameOf } from './kit/runs.ts'
import { stage } from './kit/walk.ts'

const LOOKS = ALL_LOOKS.map((look) => ({ look, name: nameOf(look) }))

const folder = new URL('../screenshots/', import.meta.url).pathname
const on = stage({ kind: 'sqlite', look: DESKTOP }, prepared)

test.each(LOOKS)('pictures in $name', async ({ look }) => {
  mkdirSync(folder, { recursive: true })
  const end = `${look.width === PHONE.width ? 'phone' : 'desktop'}-${look.theme}-${look.language}.png`
  const visitor = await on.visitor(look)
  await visitor.go('/')
  await visitor.page.locator('input[type=password]').waitFor()
  await visitor.page.screenshot({ path: `${folder}sign-in-${end}` })
  await visitor.signIn()
  for (const { path, name, ready } of PAGES) {
    await visitor.turnTo(path)
    await ready(visitor.page)
    await visitor.page.screenshot({ path: `${folder}${name}-${end}`, fullPage: true })
  }
})
