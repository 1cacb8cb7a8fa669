import type { Schemas } from '../api/contract'

/** As many entries as a browser saves; `token-server audit export` has no limit. */
export const MOST = 10_000
const AT_ONCE = 1_000

type Entry = Schemas['AuditEntry']
type Fetch = (page: number, size: number) => Promise<{ list: Entry[]; total: number }>

/** Fetches page after page. What is written meanwhile moves entries to later pages: none is taken twice. */
export async function exported(fetch: Fetch, progress: (share: number) => void): Promise<Entry[]> {
  const entries = new Map<number, Entry>()
  for (let page = 1; entries.size < MOST; page += 1) {
    const { list, total } = await fetch(page, AT_ONCE)
    for (const entry of list) entries.set(entry.id, entry)
    progress(Math.min(1, entries.size / Math.max(1, Math.min(total, MOST))))
    if (list.length < AT_ONCE) break
  }
  return [...entries.values()].slice(0, MOST)
}
