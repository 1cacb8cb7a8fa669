// An OAuth 2.0 authorization server for the integration tests: the certified
// oidc-provider, with clients for each way of client authentication, opaque access
// tokens and JWTs, and refresh tokens that rotate with reuse detection.
//
// Environment:
//   PORT                port on 127.0.0.1; 0, the default, lets the system choose
//   ACCESS_TOKEN_TTL_S  lifetime of an access token in seconds, default 20
//   CLIENTS             number of clients `client-1`, … default 2
//   CLIENT_JWKS         public keys (JWKS) of the client `jwt-key`
//   TLS_KEY, TLS_CERT   files of a second, HTTPS listener that asks for client certificates
//   TLS_CLIENT_CA       file of the authority that signs them
//   TLS_CLIENT_DN       the subject of the client `mtls`, as RFC 4514 writes it
//
// Once it listens it prints one line of JSON, {"issuer": "http://127.0.0.1:PORT",
// "tls_issuer": "https://localhost:PORT"}, and nothing else on stdout. It exits when stdin
// closes, so that it does not outlive the test process that started it.
//
// Endpoints: POST /token, POST /token/introspection (opaque tokens only), GET /jwks, and for
// the tests GET /stats, POST /test/grant {client_id} (a first refresh token, which a browser
// would get otherwise) and POST /test/verify {token} (an access token of either kind).

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import { certificates } from './certificates.mjs';
import { Memory } from './memory.mjs';
import { resource, testEndpoints } from './testing.mjs';

// oidc-provider writes notices by console.info: keep stdout for the one line above.
console.log = console.info = console.error;
const { Provider } = await import('oidc-provider');

const port = wholeNumber('PORT', 0);
const accessTokenTtlS = wholeNumber('ACCESS_TOKEN_TTL_S', 20);
const clientCount = wholeNumber('CLIENTS', 2);

const introspector = 'introspector';
/** Tokens of this client, and of `refresher-jwt`, are JWTs; all others are opaque. */
const jwtClient = 'jwt-tokens';
const clients = Array.from({ length: clientCount }, (_, index) => {
  const k = index + 1;
  return client(`client-${k}`, secretOf(k), k % 2 ? 'client_secret_basic' : 'client_secret_post');
});
clients.push(client(introspector, `secret-of-${introspector}`, 'client_secret_basic'));
clients.push(client('jwt-secret', `secret-of-jwt-secret-0123456789abcdef`, 'client_secret_jwt'));
clients.push(client(jwtClient, `secret-of-${jwtClient}-0123456789abcdef`, 'client_secret_basic'));
for (const name of ['refresher', 'refresher-jwt']) {
  clients.push({
    ...client(name, `secret-of-${name}-0123456789abcdef`, 'client_secret_basic'),
    // The provider wants the code grant beside that of refresh tokens.
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: ['https://client.example/callback'],
    response_types: ['code'],
  });
}
clients.push({
  ...client('console', 'secret:of console/100%2B+0123456789abcdef', 'client_secret_basic'),
  grant_types: ['authorization_code'],
  redirect_uris: ['http://console.example/console/sign-in/oidc/callback'],
  response_types: ['code'],
});
if (process.env.CLIENT_JWKS) {
  const { client_secret, ...keyed } = client('jwt-key', '', 'private_key_jwt');
  clients.push({ ...keyed, jwks: JSON.parse(process.env.CLIENT_JWKS) });
}
const tls = process.env.TLS_KEY && {
  key: readFileSync(process.env.TLS_KEY),
  cert: readFileSync(process.env.TLS_CERT),
  ca: readFileSync(process.env.TLS_CLIENT_CA),
  requestCert: true,
  // Who has none is refused by the provider, for that client only.
  rejectUnauthorized: false,
};
if (tls) {
  const { client_secret, ...certified } = client('mtls', '', 'tls_client_auth');
  clients.push({ ...certified, tls_client_auth_subject_dn: process.env.TLS_CLIENT_DN });
}

/** Of humans who sign in. */
const groupsOf = { alice: ['token-admins', 'token-readers'], bob: ['token-readers'] };

process.stdin.on('close', () => process.exit(0)).resume();

const server = createServer();
const tlsServer = tls && createTlsServer(tls);
await listen(server, port);
if (tlsServer) await listen(tlsServer, 0);
const issuer = `http://127.0.0.1:${server.address().port}`;
const callback = oauth(issuer).callback();
server.on('request', callback);
tlsServer?.on('request', callback);
const tls_issuer = tlsServer && `https://localhost:${tlsServer.address().port}`;
process.stdout.write(`${JSON.stringify({ issuer, tls_issuer })}\n`);

function listen(server, port) {
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
}

function oauth(issuer) {
  const provider = new Provider(issuer, {
    adapter: Memory,
    clients,
    clientAuthMethods: [
      'client_secret_basic',
      'client_secret_post',
      'client_secret_jwt',
      'private_key_jwt',
      ...(tls ? ['tls_client_auth'] : []),
    ],
    enabledJWA: { clientAuthSigningAlgValues: ['HS256', 'RS256', 'PS256', 'ES256', 'EdDSA'] },
    features: {
      clientCredentials: { enabled: true },
      // A human signs in by a name, and any password.
      devInteractions: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, caller, token) =>
          caller.clientId === introspector || caller.clientId === token.clientId,
      },
      mTLS: { enabled: Boolean(tls), tlsClientAuth: true, ...certificates },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, client) =>
          client.clientId === jwtClient ? resource.name : undefined,
        // A refresh token for a resource gets access tokens for it unasked.
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: resource.scope,
          accessTokenFormat: 'jwt',
          accessTokenTTL: accessTokenTtlS,
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    claims: { openid: ['sub'], groups: ['groups'] },
    // What was asked for by a scope is in the ID token.
    conformIdTokenClaims: false,
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, groups: groupsOf[sub] ?? [] }),
    }),
    rotateRefreshToken: true,
    ttl: {
      AccessToken: accessTokenTtlS,
      ClientCredentials: accessTokenTtlS,
      Grant: 86_400,
      IdToken: 3600,
      RefreshToken: 86_400,
    },
  });
  const counted = clients.map(({ client_id }) => client_id).filter((id) => id !== introspector);
  provider.use(testEndpoints(provider, counted));
  provider.use(onlyRegisteredMethod);
  return provider;
}

/**
 * oidc-provider takes a client secret by header and by body alike. Here the one
 * method the client is registered with is demanded, as many providers do.
 */
async function onlyRegisteredMethod(ctx, next) {
  await next();
  const used = ctx.headers.authorization ? 'client_secret_basic' : 'client_secret_post';
  const registered = ctx.oidc?.client?.clientAuthMethod;
  const bySecret = ['client_secret_basic', 'client_secret_post'].includes(registered);
  if (ctx.status === 200 && bySecret && registered !== used) {
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
