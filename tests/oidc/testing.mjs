// What the tests ask for beside OAuth: counts, what a browser would get, and a verdict.

import { text } from 'node:stream/consumers';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

/** Where tokens that are JWTs are meant for, and what they allow there. */
export const resource = { name: 'https://api.example', scope: 'read' };
/** The account on whose behalf refresh tokens are given. */
const accountId = 'account-1';

/**
 * GET /stats, POST /test/grant {client_id} and POST /test/verify {token}; what else passes
 * is counted for the given clients.
 */
export function testEndpoints(provider, clientIds) {
  const issued = Object.fromEntries(clientIds.map((id) => [id, 0]));
  const rotations = {};
  let reuseDetected = 0;
  provider.on('refresh_token.consumed', ({ clientId }) => {
    rotations[clientId] = (rotations[clientId] ?? 0) + 1;
  });
  const verdict = verdictOf(provider);

  return async (ctx, next) => {
    switch (`${ctx.method} ${ctx.path}`) {
      case 'GET /stats':
        ctx.body = {
          token_requests: issued,
          token_requests_total: sum(issued),
          rotations: sum(rotations),
          rotations_by_client: rotations,
          reuse_detected: reuseDetected,
        };
        return;
      case 'POST /test/grant': {
        const { client_id = 'refresher' } = await bodyOf(ctx);
        const refresh_token = await firstRefreshToken(provider, client_id);
        ctx.status = refresh_token ? 200 : 400;
        ctx.body = { refresh_token };
        return;
      }
      case 'POST /test/verify': {
        const { token } = await bodyOf(ctx);
        ctx.body = { active: await verdict(`${token}`) };
        return;
      }
      default:
    }
    await next();
    if (ctx.oidc?.route !== 'token') return;
    if (ctx.status === 200) {
      issued[ctx.oidc.client.clientId] += 1;
    } else if (ctx.body?.error === 'invalid_grant' && ctx.oidc.entities.RefreshToken?.consumed) {
      reuseDetected += 1;
    }
  };
}

/** What a browser would get at the end of the code flow; nothing for other clients. */
async function firstRefreshToken(provider, clientId) {
  const client = await provider.Client.find(clientId);
  if (!client?.grantTypeAllowed('refresh_token')) return undefined;
  const scope = 'openid offline_access';
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope(scope);
  const token = { accountId, client, gty: 'authorization_code', scope };
  if (clientId === 'refresher-jwt') {
    grant.addResourceScope(resource.name, resource.scope);
    token.resource = resource.name;
    token.scope += ` ${resource.scope}`;
  }
  const grantId = await grant.save();
  return new provider.RefreshToken({ ...token, grantId }).save();
}

/**
 * Whether an access token is good now: the provider knows the opaque ones, and not the
 * JWTs, which their signature and end speak for.
 */
function verdictOf(provider) {
  const { issuer } = provider;
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
  return async (token) => {
    if (token.split('.').length !== 3) {
      const models = [provider.AccessToken, provider.ClientCredentials];
      const found = await Promise.all(models.map((model) => model.find(token)));
      return found.some((known) => known?.isValid);
    }
    try {
      await jwtVerify(token, keys, { issuer, audience: resource.name, typ: 'at+jwt' });
      return true;
    } catch (error) {
      if (error instanceof errors.JOSEError) return false;
      throw error;
    }
  };
}

async function bodyOf(ctx) {
  return JSON.parse((await text(ctx.req)) || '{}');
}

function sum(counts) {
  return Object.values(counts).reduce((total, n) => total + n, 0);
}
