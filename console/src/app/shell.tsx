import { Link, useRouterState } from '@tanstack/react-router'
import { useEffect, useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import type { Scope, Session } from '../api/contract'
import { useActivity } from '../session/activity'
import { signOut } from '../session/calls'
import { allows } from '../session/rights'
import { SessionContext } from '../session/use-session'
import { useProblemToast } from '../shared/use-action'
import { useLive, LiveMark } from './live'
import { Mark } from './mark'
import { Preferences } from './preferences-menu'

const PAGES = [
  { to: '/', name: 'overview', scope: 'secret:read' },
  { to: '/realms', name: 'realms', scope: 'realm:read' },
  { to: '/secrets', name: 'secrets', scope: 'secret:read' },
  { to: '/renewals', name: 'renewals', scope: 'secret:read' },
  { to: '/access', name: 'access', scope: 'key:write' },
  { to: '/audit', name: 'audit', scope: 'audit:read' },
  { to: '/settings', name: 'settings', scope: 'admin' },
] as const satisfies readonly { to: string; name: string; scope: Scope }[]

/** The pages that this session is good for. */
function Navigation({ session, open }: { session: Session; open: boolean }) {
  const { t } = useTranslation()
  return (
    <nav id="pages" className={open ? 'pages open' : 'pages'} aria-label={t('pages')}>
      {PAGES.filter((page) => allows(session.scopes, page.scope)).map((page) => (
        <Link key={page.to} to={page.to} activeOptions={{ exact: page.to === '/' }} activeProps={{ className: 'active' }}>
          {t(`nav.${page.name}`)}
        </Link>
      ))}
    </nav>
  )
}

export function Shell({ session, children }: { session: Session; children: ReactNode }) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  const path = useRouterState({ select: (state) => state.location.pathname })
  const tell = useProblemToast()
  const live = useLive(session)
  useActivity()
  useEffect(() => setOpen(false), [path])
  return (
    <SessionContext value={session}>
      <a className="skip" href="#content">
        {t('skip')}
      </a>
      <div className="shell">
        <header className="bar">
          <div className="brand">
            <Mark />
            <span>token-server</span>
          </div>
          <button type="button" className="menu" aria-expanded={open} aria-controls="pages" onClick={() => setOpen(!open)}>
            {t('menu')}
          </button>
          <Navigation session={session} open={open} />
          <div className={open ? 'whoami open' : 'whoami'}>
            <LiveMark live={live} />
            <p className="caller">
              <span className="hint">{t('signedInAs')}</span>
              <span className="name" title={session.caller}>
                {session.caller}
              </span>
            </p>
            <Preferences />
            <button type="button" className="plain" onClick={() => signOut().catch(tell)}>
              {t('signOut')}
            </button>
          </div>
        </header>
        <main id="content" tabIndex={-1}>
          {children}
        </main>
      </div>
    </SessionContext>
  )
}
