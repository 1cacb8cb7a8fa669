import type { FailureClass, SecretState } from '../api/contract'

export type Todo = 'authorize' | 'correct' | 'wait' | 'reach' | 'token' | 'realm' | 'paused'

/** What helps where a renewal fails; docs/src/how-to/no-token.md has more. */
export function whatToDo(state: SecretState, of: FailureClass, detail: string): Todo {
  if (state === 'paused') return 'paused'
  if (/^refresh_token_(refused|maybe_spent)/.test(detail)) return 'authorize'
  switch (of) {
    case 'permanent':
      return 'correct'
    case 'rate_limited':
      return 'wait'
    case 'transient':
      return 'reach'
    case 'invalid_token':
      return 'token'
    case 'internal':
      return 'realm'
  }
}
