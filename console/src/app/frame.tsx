import { useQueryClient } from '@tanstack/react-query'
import { Outlet } from '@tanstack/react-router'
import { useEffect, useSyncExternalStore } from 'react'
import { useTranslation } from 'react-i18next'
import { readSession } from '../session/calls'
import { SignInPage } from '../session/sign-in'
import { sessionState, subscribe } from '../session/store'
import { Waiting } from '../shared/waiting'
import { Shell } from './shell'

/** Who is not signed in sees the sign-in at any path, and the page he asked for after it. */
export function Frame() {
  const { t } = useTranslation()
  const state = useSyncExternalStore(subscribe, sessionState)
  const client = useQueryClient()
  useEffect(() => {
    if (state.kind === 'unknown') void readSession()
    // The next one to sign in here sees nothing of what this one saw.
    if (state.kind === 'out') client.clear()
  }, [state.kind, client])
  if (state.kind === 'unknown') return <Waiting label={t('loading')} />
  if (state.kind === 'out') return <SignInPage reason={state.reason} left={state.left} />
  return (
    <Shell session={state.session}>
      <Outlet />
    </Shell>
  )
}
