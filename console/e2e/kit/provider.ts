// A provider as OAuth has it (RFC 6749, section 4.4), which answers as it is told.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A client secret that is always refused. */
export const WRONG = 'wrong'

export class Provider {
  /** What it answers; a refusal is what a wrong secret gets. */
  answers: 'token' | 'refusal' | 'fault' = 'token'
  lifetimeS = 7200
  issued = 0
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      let sent = ''
      request.on('data', (data: Buffer) => (sent += data.toString()))
      request.on('end', () => {
        const [status, body] = this.#answer(new URLSearchParams(sent).get('client_secret') === WRONG)
        response.writeHead(status, { 'Content-Type': 'application/json' })
        response.end(JSON.stringify(body))
      })
    })
  }

  static async start(): Promise<Provider> {
    const provider = new Provider()
    await new Promise<void>((ready) => provider.#server.listen(0, '127.0.0.1', ready))
    return provider
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`
  }

  stop() {
    this.#server.closeAllConnections()
    this.#server.close()
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
