// Puts a .br and a .gz beside each file of dist/ that is worth it, for the server to send as they are.
import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const dist = new URL('../dist', import.meta.url).pathname
const compressible = /\.(html|js|css|svg|json|txt)$/

// Vite's own list of files is for size.mjs, which has it from there; it is not for browsers.
for (const name of readdirSync(dist, { recursive: true })) {
  const path = join(dist, name)
  if (!statSync(path).isFile() || !compressible.test(name) || name.startsWith('.vite')) continue
  const content = readFileSync(path)
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length }
  for (const [ending, packed] of [
    ['.br', brotliCompressSync(content, { params })],
    ['.gz', gzipSync(content, { level: 9 })],
  ]) {
    if (packed.length < content.length) writeFileSync(path + ending, packed)
    else rmSync(path + ending, { force: true })
  }
}
