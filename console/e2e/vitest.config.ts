import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['e2e/**/*.test.ts'],
    // A browser and a server on a busy machine: these say when to give up, not how fast it is.
    testTimeout: 400_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
})
