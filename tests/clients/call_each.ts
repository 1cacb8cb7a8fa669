// Calls each operation of a server with types generated from the specification: `schema.d.ts`
// lies beside this file when it is compiled. BASE_URL, ADMIN_KEY and PROVIDER_URL stand in the
// environment. What the compiler does not refuse and a server answers otherwise fails here.

import createClient from "openapi-fetch";
import type { components, operations, paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };

const base = process.env["BASE_URL"] ?? "";
const called = new Set<string>();
const client = createClient<paths>({
  baseUrl: base,
  headers: { authorization: `Bearer ${process.env["ADMIN_KEY"]}` },
});
client.use({
  onRequest({ request, schemaPath }) {
    called.add(`${request.method} ${schemaPath}`);
    return undefined;
  },
});

function assert(holds: unknown, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

// What an operation answers with 200, or an error that says what it answered instead.
async function ok<T>(what: string, call: Promise<{ data?: T; error?: unknown }>): Promise<T> {
  const { data, error } = await call;
  assert(data !== undefined, `${what}: ${JSON.stringify(error)}`);
  return data;
}

// The problem that an operation answers.
async function refused<E>(what: string, call: Promise<{ data?: unknown; error?: E }>): Promise<E> {
  const { data, error } = await call;
  assert(error !== undefined, `${what}: ${JSON.stringify(data)}`);
  return error;
}

await ok("getHealth", client.GET("/healthz"));
await ok("getReadiness", client.GET("/readyz"));

const presets = await ok("listPresets", client.GET("/api/preset", {
  params: { query: { page: 1, pageSize: 2 } },
}));
const preset: components["schemas"]["Preset"] | undefined = presets.data.list[0];
assert(preset !== undefined && presets.data.total > 100, "presets are listed");
const verified: "documentation" | "sdk" | "community" = preset.verified;
assert(verified, "a preset says where its facts are from");
const category: components["schemas"]["PresetCategory"] = preset.category;
const found = await ok("listPresets", client.GET("/api/preset", {
  params: { query: { keyword: "微信", category: "communication", country: "CN" } },
}));
assert(found.data.list.some((one) => one.id === "wechat_oa"), `found in Chinese; ${category}`);
const path = { id: preset.id };
const again = await ok("getPreset", client.GET("/api/preset/{id}", { params: { path } }));
assert(again.data.id === preset.id, again.data.id);
await ok("registerPreset", client.POST("/api/preset/{id}", {
  params: { path }, body: { id: "from-a-preset" },
}));
const taken = await refused("registerPreset", client.POST("/api/preset/{id}", {
  params: { path }, body: { id: "from-a-preset" },
}));
assert(taken.code === "realm_exists", taken.code);

const config = {
  url: process.env["PROVIDER_URL"], method: "GET",
  arguments: [{ name: "appid", place: "url", value: "$key_1" }],
  token_path: "access_token", expires_in_path: "expires_in",
};
const realm = await ok("saveRealm", client.POST("/api/realm", { body: { id: "r", config } }));
const comment: string | null = realm.data.comment;
assert(comment === null, "a realm without a comment");
const one = { params: { path: { id: "r" } } };
assert((await ok("getRealm", client.GET("/api/realm/{id}", one))).data.version >= 1, "a version");
await ok("listRealms", client.GET("/api/realm", { params: { query: { keyword: "r" } } }));
const tried = await ok("testRealm", client.POST("/api/realm/test", {
  body: { config, params: { key_1: "the-app" }, send: true },
}));
assert(tried.data.exchanges[0]?.answer?.status === 200, "the provider answered");

const name = { realm: "r", key: "k" };
await ok("saveSecret", client.POST("/api/secret", {
  body: { ...name, key_1: "the-app", key_2: "the-secret" },
}));
const token: operations["getToken"]["responses"][200]["content"]["application/json"] = await ok(
  "getToken", client.GET("/api/token", { params: { query: { ...name, min_ttl_s: 1 } } }),
);
const source: "cache" | "database" | "upstream" = token.source;
assert(source && token.expires_in_s > 0, "a token that is valid");
const secret = { params: { path: name } };
const shown = (await ok("getSecret", client.GET("/api/secret/{realm}/{key}", secret))).data;
const trouble: components["schemas"]["LastError"] | null = shown.last_error;
assert(trouble === null && shown.state === "active", "a healthy secret");
await ok("listSecrets", client.GET("/api/secret", { params: { query: { state: "active" } } }));
const events = await ok("getEvents", client.GET("/api/event", { parseAs: "stream" }));
await events?.cancel();
await ok("previewRealm", client.GET("/api/realm/{id}/preview", {
  params: { path: { id: "r" }, query: { key: "k" } },
}));
const unknown = await refused("watchToken", client.GET("/api/token/watch", {
  params: { query: { realm: "r", key: "nobody" } },
}));
assert(unknown.code === "unknown_secret", unknown.code);
const flushed = await ok("flushToken", client.POST("/api/token/flush", { body: name }));
await ok("reportToken", client.POST("/api/token/report", {
  body: { ...name, generation: flushed.generation },
}));
await ok("pauseSecret", client.POST("/api/secret/{realm}/{key}/pause", secret));
await ok("resumeSecret", client.POST("/api/secret/{realm}/{key}/resume", secret));
const run = await ok("runRenewals", client.POST("/api/renewal/run", {
  params: { query: { realm: "r" } },
}));
assert(run.data.failed === 0, "nothing fails");
const renewals = await ok("listRenewals", client.GET("/api/renewal", {
  params: { query: { outcome: "stored" } },
}));
const failure: components["schemas"]["Renewal"]["class"] | undefined = renewals.data.list[0]?.class;
assert(failure === null, "a stored token has no class of failure");

await ok("saveRealm", client.POST("/api/realm", { body: { id: "fixed", config: null } }));
const fixed = { realm: "fixed", key: "k" };
await ok("saveFixedToken", client.PUT("/api/token", { body: { ...fixed, token: "typed-in" } }));
const typed = await ok("getToken", client.GET("/api/token", { params: { query: fixed } }));
assert(typed.token === "typed-in" && typed.expires_at === null, "a token that never expires");
const unflushed = await refused("getToken", client.GET("/api/token", {
  params: { query: { ...fixed, flush: "1" } },
}));
assert(unflushed.code === "fixed_token_flushed", unflushed.code);

const signIn = await ok("getSignIn", client.GET("/api/sign-in"));
assert(!signIn.data.oidc, "no sign-in by OpenID Connect is configured");
const session = await ok("createSession", client.POST("/api/session"));
assert(session.data.realms === null && session.data.csrf, "a session of the administrator");
// These are for whoever has its cookie, and calls with nothing else.
const noSession = await refused("getSession", client.GET("/api/session"));
assert(noSession.code === "no_session", noSession.code);
await refused("endSession", client.DELETE("/api/session"));

const scopes: components["schemas"]["NewApiKey"]["scopes"] = ["token:read"];
const made = await ok("createApiKey", client.POST("/api/api-key", {
  body: { name: "reader", scopes },
}));
const keys = await ok("listApiKeys", client.GET("/api/api-key"));
assert(keys.data.list[0]?.expires_at === null, "a key that never expires");
const key = { params: { path: { id: made.data.id } } };
await ok("revokeApiKey", client.DELETE("/api/api-key/{id}", key));
const revoked = await refused("revokeApiKey", client.DELETE("/api/api-key/{id}", key));
assert(revoked.code === "unknown_api_key", revoked.code);
const issuerPath = { params: { path: { name: "one" } } };
const issuer = await ok("saveIssuer", client.PUT("/api/issuer/{name}", {
  ...issuerPath,
  body: {
    issuer: "https://issuer.example",
    audiences: ["a"],
    rules: [{ when: "claims.sub == 'a'", scopes, realms: ["r*"] }],
  },
}));
assert(issuer.data.rules?.[0]?.keys === null, "a rule without patterns of keys");
await ok("listIssuers", client.GET("/api/issuer"));
await ok("getIssuer", client.GET("/api/issuer/{name}", issuerPath));
await ok("deleteIssuer", client.DELETE("/api/issuer/{name}", issuerPath));
const noIssuer = await refused("deleteIssuer", client.DELETE("/api/issuer/{name}", issuerPath));
assert(noIssuer.code === "unknown_issuer", noIssuer.code);
await ok("listAuditEntries", client.GET("/api/audit"));
const overview = await ok("getOverview", client.GET("/api/overview"));
assert(overview.data.replica.name && overview.data.states !== null, "an overview");
const settings = await ok("getSettings", client.GET("/api/settings"));
assert(settings.data.sealing_keys[0]?.seals, "the one key of the ring seals");
const metrics = await ok("getMetrics", client.GET("/metrics", { parseAs: "text" }));
assert(metrics.endsWith("# EOF\n"), "OpenMetrics");

const nowhere = { params: { path: { realm: "r" } } };
const unchecked = await refused("checkTicketUrl", client.GET("/api/ticket/{realm}", nowhere));
assert(unchecked.code === "unknown_realm", unchecked.code);
const unpushed = await refused("receiveTicket", client.POST("/api/ticket/{realm}", {
  ...nowhere, body: { type: "url_verification" },
}));
assert(unpushed.code === "unknown_realm", unpushed.code);

const inUse = await refused("deleteRealm", client.DELETE("/api/realm/{id}", one));
assert(inUse.code === "realm_has_secrets", inUse.code);
await ok("deleteSecret", client.DELETE("/api/secret/{realm}/{key}", secret));
await ok("deleteRealm", client.DELETE("/api/realm/{id}", {
  params: { path: { id: "r" }, query: { cascade: true } },
}));

const specification = await (await fetch(`${base}/openapi.json`)).json();
for (const [path, methods] of Object.entries<object>(specification.paths)) {
  for (const method of Object.keys(methods)) {
    const operation = `${method.toUpperCase()} ${path}`;
    assert(called.has(operation), `not called: ${operation}`);
  }
}
