import createClient, { type Middleware } from 'openapi-fetch'
import { endSession, sessionState } from '../session/store'
import { asError, isProblem, UnreachableError } from './problem'
import type { paths } from './schema'

const CHANGES = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/** The header that shows that a change comes from this page. */
function csrfHeader(method: string): Record<string, string> {
  const state = sessionState()
  return CHANGES.has(method) && state.kind === 'in' ? { 'X-CSRF-Token': state.session.csrf } : {}
}

/** Where the session has ended, the page goes back to its sign-in and says why. */
async function noticeEnd(response: Response) {
  if (response.status !== 401 || sessionState().kind !== 'in') return
  const body: unknown = await response.clone().json().catch(() => null)
  endSession(isProblem(body) ? body.detail : null)
}

const session: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(csrfHeader(request.method))) request.headers.set(name, value)
    return request
  },
  async onResponse({ response }) {
    await noticeEnd(response)
    return undefined
  },
  onError({ error }) {
    return new UnreachableError(error instanceof Error ? error.message : String(error))
  },
}

export const api = createClient<paths>({
  baseUrl: typeof location === 'undefined' ? 'http://localhost' : location.origin,
  credentials: 'same-origin',
})
api.use(session)

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

/** What an operation answered, without its envelope. Throws what went wrong otherwise. */
export async function dataOf<T>(answer: Promise<Answer<{ data: T }>>): Promise<T> {
  return (await bodyOf(answer)).data
}

/** The same for answers that have no envelope. */
export async function bodyOf<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await answer
  if (data === undefined || !response.ok) throw asError(error, response)
  return data
}

/** A call of the console's own. */
export async function call<T>(method: string, path: string, headers: Record<string, string> = {}): Promise<T> {
  let response: Response
  try {
    response = await fetch(path, {
      method,
      credentials: 'same-origin',
      headers: { Accept: 'application/json', ...csrfHeader(method), ...headers },
    })
  } catch (error) {
    throw new UnreachableError(error instanceof Error ? error.message : String(error))
  }
  await noticeEnd(response)
  const body: unknown = await response.json().catch(() => null)
  if (!response.ok) throw asError(body, response)
  return body as T
}
