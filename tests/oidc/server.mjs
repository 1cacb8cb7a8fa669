// An OAuth 2.0 authorization server for the integration tests: the certified
// oidc-provider, with clients that may only use the client credentials grant
// (RFC 6749 §4.4) and opaque access tokens that can be introspected (RFC 7662).
//
// Environment:
//   PORT                port on 127.0.0.1; 0, the default, lets the system choose
//   ACCESS_TOKEN_TTL_S  lifetime of an access token in seconds, default 20
//   CLIENTS             number of clients, default 2
//
// Once it listens it prints one line of JSON, {"issuer": "http://127.0.0.1:PORT"},
// and nothing else on stdout. It exits when stdin closes, so that it does not
// outlive the test process that started it.
//
// Endpoints: POST /token, POST /token/introspection, GET /stats.

import { createServer } from 'node:http';

// oidc-provider writes notices by console.info: keep stdout for the one line above.
console.log = console.info = console.error;
const { Provider } = await import('oidc-provider');

const port = wholeNumber('PORT', 0);
const accessTokenTtlS = wholeNumber('ACCESS_TOKEN_TTL_S', 20);
const clientCount = wholeNumber('CLIENTS', 2);

const introspector = 'introspector';
const clients = Array.from({ length: clientCount }, (_, index) => {
  const k = index + 1;
  return client(`client-${k}`, secretOf(k), k % 2 ? 'client_secret_basic' : 'client_secret_post');
});
const issued = Object.fromEntries(clients.map(({ client_id }) => [client_id, 0]));
clients.push(client(introspector, `secret-of-${introspector}`, 'client_secret_basic'));

process.stdin.on('close', () => process.exit(0)).resume();

const server = createServer();
server.listen(port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', oauth(issuer).callback());
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});

function oauth(issuer) {
  const provider = new Provider(issuer, {
    adapter: Memory,
    clients,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, caller, token) =>
          caller.clientId === introspector || caller.clientId === token.clientId,
      },
    },
    ttl: { ClientCredentials: accessTokenTtlS },
  });
  provider.use(stats);
  provider.use(onlyRegisteredMethod);
  return provider;
}

/** GET /stats: how many access tokens were issued, by client and in total. */
async function stats(ctx, next) {
  if (ctx.method === 'GET' && ctx.path === '/stats') {
    const total = Object.values(issued).reduce((sum, n) => sum + n, 0);
    ctx.body = { token_requests: issued, token_requests_total: total };
    return;
  }
  await next();
  if (ctx.oidc?.route === 'token' && ctx.status === 200) {
    issued[ctx.oidc.client.clientId] += 1;
  }
}

/**
 * oidc-provider takes a client secret by header and by body alike. Here the one
 * method the client is registered with is demanded, as many providers do.
 */
async function onlyRegisteredMethod(ctx, next) {
  await next();
  const used = ctx.headers.authorization ? 'client_secret_basic' : 'client_secret_post';
  if (ctx.status === 200 && ctx.oidc?.client && ctx.oidc.client.clientAuthMethod !== used) {
    ctx.status = 401;
    ctx.body = { error: 'invalid_client', error_description: `not registered for ${used}` };
  }
}

function client(client_id, client_secret, token_endpoint_auth_method) {
  return {
    client_id,
    client_secret,
    token_endpoint_auth_method,
    grant_types: client_id === introspector ? [] : ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  };
}

/**
 * The first client's secret has the characters that RFC 6749 §2.3.1 wants
 * form-encoded before Basic; without that it decodes to another secret.
 */
function secretOf(k) {
  return k === 1
    ? 'secret:of client-1/100%2B+0123456789abcdef'
    : `secret-of-client-${k}-0123456789abcdef`;
}

function wholeNumber(name, fallback) {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`${name} is not a whole number`);
  }
  return value;
}

/**
 * Storage in memory. The adapter that comes with oidc-provider forgets entries
 * when there are more than a thousand, live tokens included.
 */
class Memory {
  #entries = new Map();

  async find(id) {
    return this.#entries.get(id);
  }

  async upsert(id, payload, expiresInS) {
    this.#entries.set(id, payload);
    const longestTimerMs = 2 ** 31 - 1;
    const keepMs = Math.min(expiresInS * 1000, longestTimerMs);
    setTimeout(() => this.#entries.delete(id), keepMs).unref();
  }

  async destroy(id) {
    this.#entries.delete(id);
  }
}
