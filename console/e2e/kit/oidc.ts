// A certified OpenID provider, npm's `oidc-provider`, in a process of its own: that of the server's tests.
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

const SCRIPT = new URL('../../../tests/oidc/server.mjs', import.meta.url).pathname
/** Whom the provider leads back to, as its client `console` is registered. */
export const PUBLIC_HOST = 'console.example'
const SECRET = 'secret:of console/100%2B+0123456789abcdef'

export class OpenIdProvider {
  readonly issuer: string
  readonly #process: ChildProcess

  private constructor(process: ChildProcess, issuer: string) {
    this.#process = process
    this.issuer = issuer
  }

  static async start(): Promise<OpenIdProvider> {
    // It ends when its standard input does.
    const child = spawn(process.execPath, [SCRIPT], { stdio: ['pipe', 'pipe', 'ignore'] })
    for await (const line of createInterface({ input: child.stdout })) {
      return new OpenIdProvider(child, (JSON.parse(line) as { issuer: string }).issuer)
    }
    throw new Error(`${SCRIPT} ended: its packages are installed by make setup`)
  }

  /** What a server is configured with: alice administers, bob reads, and nobody else may do anything. */
  settings(): Record<string, string> {
    const rules = [
      { when: "'token-admins' in claims.groups", scopes: ['admin'] },
      { when: "'token-readers' in claims.groups", scopes: ['realm:read', 'secret:read'] },
    ]
    return {
      TOKEN_SERVER__CONSOLE__PUBLIC_URL: `http://${PUBLIC_HOST}`,
      TOKEN_SERVER__CONSOLE__OIDC__NAME: 'Example ID',
      TOKEN_SERVER__CONSOLE__OIDC__ISSUER: this.issuer,
      TOKEN_SERVER__CONSOLE__OIDC__CLIENT_ID: 'console',
      TOKEN_SERVER__CONSOLE__OIDC__CLIENT_SECRET: SECRET,
      TOKEN_SERVER__CONSOLE__OIDC__SCOPES: 'openid groups',
      TOKEN_SERVER__CONSOLE__OIDC__RULES: JSON.stringify(rules),
    }
  }

  stop() {
    this.#process.stdin?.end()
  }
}
