// A provider as OAuth has it (RFC 6749, section 4.4), which answers as it is told.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A client secret that is always refused. */
export const WRONG = 'wrong'

export class Provider {
  /** What it answers; a refusal is what a wrong secret gets. */
  answers: 'token' | 'refusal' | 'fault' = 'token'
  lifetimeS = 7200
  issued = 0
  /** When it last answered. */
  answeredAt = 0
  /** The authority that its other self, with TLS, is trusted by: a file (PEM). */
  readonly authority: string
  readonly #server: Server
  readonly #secure: Server
  readonly #folder = mkdtempSync(join(tmpdir(), 'console-e2e-provider-'))

  private constructor() {
    const answer: RequestListener = (request, response) => {
      let sent = ''
      request.on('data', (data: Buffer) => (sent += data.toString()))
      request.on('end', () => {
        const [status, body] = this.#answer(new URLSearchParams(sent).get('client_secret') === WRONG)
        response.writeHead(status, { 'Content-Type': 'application/json' })
        response.end(JSON.stringify(body))
        this.answeredAt = performance.now()
      })
    }
    this.#server = createServer(answer)
    const key = join(this.#folder, 'key.pem')
    this.authority = join(this.#folder, 'certificate.pem')
    execFileSync('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=provider for tests',
      '-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', this.authority,
    ], { stdio: 'ignore' })
    this.#secure = createSecureServer({ key: readFileSync(key), cert: readFileSync(this.authority) }, answer)
  }

  static async start(): Promise<Provider> {
    const provider = new Provider()
    for (const server of [provider.#server, provider.#secure]) {
      await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
    }
    return provider
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`
  }

  /** Host and port of its other self. */
  get secureHost(): string {
    return `127.0.0.1:${(this.#secure.address() as AddressInfo).port}`
  }

  stop() {
    for (const server of [this.#server, this.#secure]) {
      server.closeAllConnections()
      server.close()
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #answer(wrong: boolean): [number, object] {
    switch (wrong ? 'refusal' : this.answers) {
      case 'refusal':
        return [401, { error: 'invalid_client' }]
      case 'fault':
        return [503, { error: 'temporarily_unavailable' }]
      case 'token':
        this.issued += 1
        return [200, { access_token: `made-for-tests-${this.issued}`, token_type: 'Bearer', expires_in: this.lifetimeS }]
    }
  }

  /** A realm document that asks this provider. */
  get document() {
    return {
      params: { client_id: { title: 'Client ID', secret: false }, client_secret: { title: 'Client secret' } },
      url: this.url,
      method: 'POST',
      content_type: 'form',
      arguments: [{ name: 'grant_type', place: 'body', value: 'client_credentials' }],
      client_auth: { method: 'client_secret_post', client_id: '$client_id', client_secret: '$client_secret' },
      token_path: 'access_token',
      expires_in_path: 'expires_in',
    }
  }
}
