import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { openBrowser, Visitor, type Look } from './browser.ts'
import { Provider } from './provider.ts'
import type { Kind } from './database.ts'
import { Server } from './server.ts'

/** The visitors of each walk; each must have left no fault. */
export function visitors(): (visitor: Visitor) => Visitor {
  const here: Visitor[] = []
  afterEach(async () => {
    const faults = here.flatMap((visitor) => visitor.faults())
    await Promise.all(here.splice(0).map((visitor) => visitor.leave()))
    expect(faults).toEqual([])
  })
  return (visitor) => {
    here.push(visitor)
    return visitor
  }
}

/** A server, a provider and a browser for the walks of one file. */
export function stage(run: { kind: Kind; look: Look }, prepare?: (server: Server, provider: Provider) => Promise<void>) {
  const parts = {} as { server: Server; provider: Provider; browser: Browser }
  const comes = visitors()
  beforeAll(async () => {
    parts.provider = await Provider.start()
    parts.server = await Server.start(run.kind, { TOKEN_SERVER__UPSTREAM__CA_FILE: parts.provider.authority })
    parts.browser = await openBrowser()
    await prepare?.(parts.server, parts.provider)
  })
  afterAll(async () => {
    await parts.browser?.close()
    await parts.server?.stop()
    parts.provider?.stop()
  })
  return {
    get server() {
      return parts.server
    },
    get provider() {
      return parts.provider
    },
    async visitor(look: Look = run.look): Promise<Visitor> {
      return comes(await Visitor.come(parts.browser, parts.server, look))
    },
    async signedIn(path = '/', look?: Look): Promise<Visitor> {
      const visitor = await this.visitor(look)
      await visitor.signIn(path)
      return visitor
    },
    /** Where somebody else makes a change: another replica where there can be one. */
    async elsewhere<T>(change: (server: Server) => Promise<T>): Promise<T> {
      if (run.kind === 'sqlite') return change(parts.server)
      const other = await parts.server.replica()
      try {
        return await change(other)
      } finally {
        await other.stop()
      }
    },
  }
}
