// What is kept in this browser: what the reader prefers, and whether somebody is signed in. No secret.

const PREFIX = 'token-server-console.'

export const stored = {
  get(name: string): string | null {
    try {
      return localStorage.getItem(PREFIX + name)
    } catch {
      return null
    }
  },
  set(name: string, value: string) {
    try {
      localStorage.setItem(PREFIX + name, value)
    } catch {
      // It holds for this page, then.
    }
  },
}
