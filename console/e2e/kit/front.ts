// Serves the built console from its folder, with the headers that the server gives it, and passes
// everything else on: for whoever changes the console without compiling the server.
import { existsSync, readFileSync } from 'node:fs'
import { createServer, request as send, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}
const POLICY =
  "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
  "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export class Front {
  readonly #server: Server

  private constructor(dist: string, behind: string) {
    this.#server = createServer((incoming, outgoing) => {
      const path = new URL(incoming.url ?? '/', behind).pathname
      if (path === '/console' || path.startsWith('/console/')) {
        const file = join(dist, path.slice('/console'.length))
        const found = extname(path) !== '' && existsSync(file) ? file : join(dist, 'index.html')
        outgoing.writeHead(200, { 'Content-Type': TYPES[extname(found)], 'Content-Security-Policy': POLICY })
        outgoing.end(readFileSync(found))
        return
      }
      const url = new URL(incoming.url ?? '/', behind)
      const passed = send(url, { method: incoming.method, headers: incoming.headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
        answer.on('error', () => outgoing.destroy())
      })
      passed.on('error', () => outgoing.destroy())
      outgoing.on('close', () => passed.destroy())
      incoming.pipe(passed)
    })
  }

  static async start(dist: string, behind: string): Promise<Front> {
    const front = new Front(dist, behind)
    await new Promise<void>((ready) => front.#server.listen(0, '127.0.0.1', ready))
    return front
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  stop() {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}
