import { defineConfig } from 'vitest/config'

// Pictures of every page, in console/screenshots/, for whoever changes the console: npm run screenshots
// Those of the documents, in docs/src/images/: npm run pictures
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['e2e/screenshots.ts', 'e2e/pictures.ts'],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
})
