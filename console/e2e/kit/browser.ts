// The system's Chromium, and what is held of every page that is opened in it.
import { existsSync } from 'node:fs'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import type { Server } from './server.ts'

const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

function executable(): string {
  const places = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  const found = places.find((place) => place !== undefined && existsSync(place))
  if (!found) throw new Error('there is no Chromium: install it, or name it by CHROMIUM')
  return found
}

export async function openBrowser(more: string[] = []): Promise<Browser> {
  const flags = [...FLAGS, ...more]
  return chromium.launch({ executablePath: executable(), args: process.getuid?.() === 0 ? ['--no-sandbox', ...flags] : flags })
}

export interface Look {
  language?: 'en' | 'zh'
  theme?: 'light' | 'dark'
  width?: number
  height?: number
}

export const PHONE = { width: 390, height: 844 }
export const DESKTOP = { width: 1280, height: 900 }

/** A visitor with a browser of his own: his pages, and whatever they did that they must not. */
export class Visitor {
  readonly page: Page
  readonly #context: BrowserContext
  readonly #server: Server
  readonly #faults: string[] = []
  #refusals: RegExp[] = []
  #elsewhere: string[] = []

  private constructor(context: BrowserContext, page: Page, server: Server) {
    this.#context = context
    this.page = page
    this.#server = server
    page.on('pageerror', (error) => this.#faults.push(`error: ${error.message}`))
    page.on('console', (message) => {
      if (message.type() === 'error' && !this.#isElsewhere()) this.#faults.push(`console: ${message.text()}`)
    })
    page.on('request', (request) => {
      const { origin } = new URL(request.url())
      const isMeant = this.#isElsewhere() || (request.isNavigationRequest() && this.#elsewhere.includes(origin))
      if (origin !== server.origin && !isMeant && !request.url().startsWith('blob:')) this.#faults.push(`asked ${request.url()}`)
    })
  }

  static async come(browser: Browser, server: Server, look: Look = {}): Promise<Visitor> {
    const context = await browser.newContext({
      locale: look.language === 'zh' ? 'zh-CN' : 'en-GB',
      colorScheme: look.theme ?? 'light',
      reducedMotion: 'reduce',
      timezoneId: 'Asia/Shanghai',
      viewport: { width: look.width ?? DESKTOP.width, height: look.height ?? DESKTOP.height },
    })
    context.setDefaultTimeout(60_000)
    return new Visitor(context, await context.newPage(), server)
  }

  async go(path: string) {
    await this.page.goto(`${this.#server.origin}/console${path}`)
  }

  /** Goes to another page of the console as its links do: without loading it anew. */
  async turnTo(path: string) {
    await this.page.evaluate((to) => history.pushState(null, '', to), `/console${path}`)
  }

  /** Follows a link of the navigation, which is behind a button where there is little room. Answers how many clicks. */
  async choose(name: string | RegExp): Promise<number> {
    const opened = await this.openMenu()
    await this.page.locator('nav#pages').getByRole('link', { name }).click()
    return opened ? 2 : 1
  }

  /** Where the navigation leads. */
  async pagesOffered(): Promise<string[]> {
    return this.page.locator('nav#pages a').evaluateAll((links) => links.map((link) => link.getAttribute('href') ?? ''))
  }

  /** Opens what is behind a button where there is little room. Answers whether there was one. */
  async openMenu(): Promise<boolean> {
    const menu = this.page.locator('header button.menu')
    if (!(await menu.isVisible()) || (await menu.getAttribute('aria-expanded')) === 'true') return false
    await menu.click()
    return true
  }

  /** Signs in at a path, in whatever language the page has. */
  async signIn(path = '/', key = this.#server.key) {
    await this.go(path)
    await this.page.locator('input[type=password]').fill(key)
    await this.page.locator('button[type=submit]').click()
    await this.page.locator('#content').waitFor()
  }

  /** Chromium notes each answer that is no success as an error: those that a walk wants are no fault. */
  expectRefusals(...statuses: number[]) {
    this.#refusals.push(...statuses.map((status) => new RegExp(`the server responded with a status of ${status}`)))
  }

  /** Where a walk means to go beside the console; what is done on pages there is not the console's. */
  goesTo(origin: string) {
    this.#elsewhere.push(origin)
  }

  #isElsewhere(): boolean {
    return this.#elsewhere.some((origin) => this.page.url().startsWith(`${origin}/`))
  }

  /** What axe finds serious on the page as it is. */
  async barriers(): Promise<string[]> {
    // The console has no frames, so axe needs no page of its own to put them together.
    const { violations } = await new AxeBuilder({ page: this.page })
      .setLegacyMode(true)
      .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
      .analyze()
    return violations.flatMap((rule) =>
      rule.nodes.map((node) => `${rule.impact} ${rule.id}: ${node.target.join(' ')}: ${node.failureSummary ?? ''}`),
    )
  }

  /** How much wider the page is than the window. */
  async overflow(): Promise<number> {
    return this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  }

  faults(): string[] {
    return this.#faults.filter((fault) => !this.#refusals.some((refusal) => refusal.test(fault)))
  }

  async leave() {
    await this.#context.close()
  }
}
