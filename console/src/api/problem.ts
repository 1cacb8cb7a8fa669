import type { Problem } from './contract'

/** An answer that is no success, as the server explained it. */
export class ProblemError extends Error {
  readonly problem: Problem
  readonly retryAfter: number | null

  constructor(problem: Problem, retryAfter: number | null) {
    super(problem.detail)
    this.name = 'ProblemError'
    this.problem = problem
    this.retryAfter = retryAfter
  }
}

/** The server could not be reached, or what answered was not it. */
export class UnreachableError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UnreachableError'
  }
}

export function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'code' in value && 'detail' in value
}

export function seconds(header: string | null): number | null {
  const value = Number(header)
  return header !== null && Number.isFinite(value) && value >= 0 ? value : null
}

/** Makes an error of an answer that is no success. */
export function asError(body: unknown, response: Response): Error {
  if (isProblem(body)) return new ProblemError(body, seconds(response.headers.get('Retry-After')))
  return new UnreachableError(`HTTP ${response.status}`)
}

export function codeOf(error: unknown): string | null {
  return error instanceof ProblemError ? error.problem.code : null
}
