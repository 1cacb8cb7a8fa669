// Fails where the first page is larger than LIMIT: what a browser loads until the overview is there,
// compressed by gzip, which is the larger of both encodings, in the language with the larger texts.
import { readFileSync, rmSync, statSync } from 'node:fs'

const LIMIT = 350 * 1024
const dist = new URL('../dist/', import.meta.url)
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist)))
const FIRST = ['index.html', 'src/overview/page.tsx', 'src/locales/zh/index.ts', 'src/app/antd-zh.ts']

const files = new Set(['index.html'])
function take(name) {
  const chunk = manifest[name]
  if (!chunk) throw new Error(`${name} is no chunk: is FIRST still right?`)
  if (files.has(chunk.file)) return
  files.add(chunk.file)
  for (const file of [...(chunk.css ?? []), ...(chunk.assets ?? [])]) files.add(file)
  for (const next of chunk.imports ?? []) take(next)
}
for (const name of FIRST) take(name)

let total = 0
for (const file of files) {
  const path = new URL(file, dist)
  let size = statSync(path).size
  try {
    size = statSync(`${path.pathname}.gz`).size
  } catch {
    // It does not become smaller.
  }
  total += size
  console.log(`${(size / 1024).toFixed(1).padStart(8)} KiB  ${file}`)
}
console.log(`${(total / 1024).toFixed(1).padStart(8)} KiB  until the overview is there; at most ${LIMIT / 1024}`)
rmSync(new URL('.vite', dist), { recursive: true })
if (total > LIMIT) process.exit(1)
