import { useQueryClient, type QueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Session } from '../api/contract'
import { readSession } from '../session/calls'
import { allows } from '../session/rights'
import { gathered } from './gathered'

export type Live = 'live' | 'away' | 'never'

const AWAY_REFRESH_MS = 15_000
/** Events come one for each secret; the page asks once for all that come in this time. */
const GATHER_MS = 400
const RECONNECT_MS = 5_000

/** What is shown of secrets and realms, and what follows from them. */
const FOLLOWED = ['secrets', 'secret', 'realms', 'realm', 'renewals']
/** The server keeps its overview for two seconds; asked sooner, it tells nothing new. */
const OVERVIEW_MS = 2_500

function refresh(client: QueryClient, keys = FOLLOWED) {
  for (const key of keys) void client.invalidateQueries({ queryKey: [key] })
}

/** Follows the server's events while somebody is signed in; while they are away, asks again by itself. */
export function useLive(session: Session): Live {
  const client = useQueryClient()
  const [live, setLive] = useState<Live>('away')
  const may = allows(session.scopes, 'secret:read')
  useEffect(() => {
    const refreshSoon = gathered(() => refresh(client), GATHER_MS)
    const overviewSoon = gathered(() => refresh(client, ['overview']), OVERVIEW_MS)
    const changed = () => {
      refreshSoon()
      overviewSoon()
    }
    const timer = setInterval(() => {
      if (source?.readyState !== EventSource.OPEN && !document.hidden) refresh(client, [...FOLLOWED, 'overview'])
    }, AWAY_REFRESH_MS)
    let source: EventSource | null = null
    let again: ReturnType<typeof setTimeout> | undefined
    let askedAtOnce = -Infinity
    const connect = () => {
      let opened = false
      source = new EventSource('/api/event')
      source.onopen = () => {
        opened = true
        setLive('live')
        changed()
      }
      source.onerror = () => {
        setLive('away')
        if (source?.readyState !== EventSource.CLOSED) {
          // It may have ended with its session: who asks at once learns of it. The browser would ask in some seconds.
          const now = performance.now()
          if (!opened || now - askedAtOnce < RECONNECT_MS) return
          askedAtOnce = now
          source?.close()
          connect()
          return
        }
        // Refused: either the session has ended, which this tells, or there are too many streams.
        void readSession()
        again = setTimeout(connect, RECONNECT_MS)
      }
      for (const name of ['secret', 'secret_deleted', 'realm', 'resync']) source.addEventListener(name, changed)
    }
    if (may) connect()
    else setLive('never')
    return () => {
      refreshSoon.cancel()
      overviewSoon.cancel()
      clearInterval(timer)
      clearTimeout(again)
      source?.close()
    }
  }, [client, may])
  return live
}

export function LiveMark({ live }: { live: Live }) {
  const { t } = useTranslation()
  if (live === 'never') return null
  return (
    <p className={`live ${live}`} role="status" title={t(`liveHint.${live}`)}>
      <span className="dot" aria-hidden="true" />
      {t(`live.${live}`)}
    </p>
  )
}
