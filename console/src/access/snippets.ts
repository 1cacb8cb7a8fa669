// How an application asks for a token. `expires_in_s` is in seconds.

const quoted = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`
const query = (realm: string, key: string) => `realm=${encodeURIComponent(realm)}&key=${encodeURIComponent(key)}`

/** A line for a shell; without a key it takes the variable KEY. */
export function curlOf(origin: string, realm: string, key: string, apiKey?: string): string {
  const header = apiKey === undefined ? '"Authorization: Bearer $KEY"' : quoted(`Authorization: Bearer ${apiKey}`)
  return `curl -H ${header} ${quoted(`${origin}/api/token?${query(realm, key)}`)}`
}

const python = (origin: string, realm: string, key: string, apiKey: string) => `import json
import urllib.request

request = urllib.request.Request(
    ${JSON.stringify(`${origin}/api/token?${query(realm, key)}`)},
    headers={"Authorization": ${JSON.stringify(`Bearer ${apiKey}`)}},
)
with urllib.request.urlopen(request, timeout=10) as answer:
    token = json.load(answer)["token"]`

const node = (origin: string, realm: string, key: string, apiKey: string) => `const answer = await fetch(
  ${JSON.stringify(`${origin}/api/token?${query(realm, key)}`)},
  { headers: { Authorization: ${JSON.stringify(`Bearer ${apiKey}`)} } },
)
if (!answer.ok) throw new Error((await answer.json()).detail)
const { token, expires_in_s } = await answer.json()`

export function snippetsOf(origin: string, realm: string, key: string, apiKey: string) {
  return [
    { name: 'curl', text: curlOf(origin, realm, key, apiKey) },
    { name: 'Python', text: python(origin, realm, key, apiKey) },
    { name: 'Node.js', text: node(origin, realm, key, apiKey) },
  ] as const
}
