// A real server with a database of its own, and calls to prepare it.
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newMysqlDatabase, type Kind } from './database.ts'
import { eventually } from './eventually.ts'
import { Front } from './front.ts'

const BINARY = process.env.TOKEN_SERVER_BIN ?? new URL('../../../target/debug/token-server', import.meta.url).pathname

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((ready) => probe.listen(0, '127.0.0.1', ready))
  const { port } = probe.address() as AddressInfo
  await new Promise((closed) => probe.close(closed))
  return port
}

export class Server {
  readonly key: string
  /** Where a browser finds the console. */
  origin = ''
  #direct = ''
  #process: ChildProcess | undefined
  #front: Front | undefined
  #folder = mkdtempSync(join(tmpdir(), 'console-e2e-'))
  #log = ''
  #database: string | undefined
  #sealing = `k1:${randomBytes(32).toString('base64')}`

  static async start(kind: Kind = 'sqlite', settings: Record<string, string> = {}): Promise<Server> {
    const server = new Server()
    server.#database = kind === 'mysql' ? newMysqlDatabase() : undefined
    await server.#start(settings)
    return server
  }

  /** Another replica, on the same database: SQLite has none. */
  async replica(): Promise<Server> {
    if (this.#database === undefined) throw new Error('SQLite has one server')
    const other = new Server(this.key)
    other.#database = this.#database
    other.#sealing = this.#sealing
    await other.#start({})
    return other
  }

  private constructor(key = randomBytes(24).toString('hex')) {
    this.key = key
  }

  async #start(settings: Record<string, string>) {
    const listen = `127.0.0.1:${await freePort()}`
    this.#direct = `http://${listen}`
    this.#process = spawn(BINARY, ['serve'], {
      env: {
        PATH: process.env.PATH,
        TOKEN_SERVER__HTTP__LISTEN: listen,
        TOKEN_SERVER__DATA_DIR: this.#folder,
        TOKEN_SERVER__ADMIN_KEY: this.key,
        // A refused secret needs attention soon, not after a minute.
        TOKEN_SERVER__RENEWAL__TRIES_AFTER_SAVE_S: '1',
        // A walk that renews a token twice need not wait between.
        TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S: '0',
        TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS: '127.0.0.0/8',
        TOKEN_SERVER__SEALING__KEYS: this.#sealing,
        ...(this.#database === undefined ? {} : { TOKEN_SERVER__DATABASE__URL: this.#database }),
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', (data: Buffer) => (this.#log += data.toString()))
    }
    const ended = new Promise<never>((_, failed) =>
      this.#process?.once('exit', () => failed(new Error(`${BINARY} ended:\n${this.#log}`))),
    )
    ended.catch(() => undefined)
    await Promise.race([eventually(`${BINARY} is ready`, async () => (await fetch(`${this.#direct}/readyz`)).ok), ended])
    // CONSOLE_DIST: a folder that is served instead of what is compiled in.
    if (process.env.CONSOLE_DIST) {
      this.#front = await Front.start(process.env.CONSOLE_DIST, this.#direct)
      this.origin = this.#front.origin
    } else {
      this.origin = this.#direct
    }
  }

  async stop() {
    this.#front?.stop()
    const process = this.#process
    if (process && process.exitCode === null) {
      const ended = new Promise((resolve) => process.once('exit', resolve))
      process.kill('SIGTERM')
      await ended
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** A call as the administrator, or with another key. */
  async call<T = unknown>(method: string, path: string, body?: unknown, key = this.key): Promise<T> {
    const response = await fetch(this.#direct + path, {
      method,
      headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const answer: unknown = await response.json()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`)
    return answer as T
  }

  async realm(id: string, config: object) {
    await this.call('POST', '/api/realm', { id, config, comment: 'for tests' })
  }

  async secret(realm: string, key: string, clientSecret = 'not-a-secret') {
    await this.call('POST', '/api/secret', { realm, key, params: { client_id: 'id-1', client_secret: clientSecret } })
  }

  async apiKey(body: { name: string; scopes: string[]; realms?: string[]; keys?: string[] }) {
    return (await this.call<{ data: { id: number; key: string } }>('POST', '/api/api-key', body)).data
  }

  async stateOf(realm: string, key: string): Promise<string> {
    return (await this.call<{ data: { state: string } }>('GET', `/api/secret/${realm}/${key}`)).data.state
  }
}
