import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// Where `npm run dev` finds the server; its built page is served by the server itself.
const server = process.env.TOKEN_SERVER_URL ?? 'http://127.0.0.1:8080'

export default defineConfig({
  base: '/console/',
  plugins: [react()],
  build: {
    target: 'es2022',
    manifest: true,
    // A data: URL would need a wider Content-Security-Policy.
    assetsInlineLimit: 0,
    // Every module says for itself what it needs; the polyfill would be an inline script.
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 2000,
  },
  server: { proxy: { '/api': server, '/openapi.json': server, '/realm.schema.json': server } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
})
