import { Button } from 'antd'
import { useEffect, useId, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { Mark } from '../app/mark'
import { Preferences } from '../app/preferences-menu'
import { ProblemNotice } from '../shared/problem-notice'
import { usePageTitle } from '../shared/page-title'
import type { SignIn } from '../api/contract'
import { signIn, signInWays } from './calls'
import { led, leaveForProvider } from './led'

const TOLD = ['denied', 'not_under_way', 'unavailable', 'refused', 'untrusted', 'no_rule', 'too_many'] as const

export function SignInPage({ reason, left }: { reason: string | null; left: boolean }) {
  const { t } = useTranslation('session')
  const id = useId()
  const [key, setKey] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [oidc, setOidc] = useState<SignIn['oidc']>(null)
  const problem = led.problem === null ? null : (TOLD.find((code) => code === led.problem) ?? 'other')
  usePageTitle(t('title'))
  useEffect(() => {
    let shown = true
    void signInWays().then((ways) => {
      if (shown) setOidc(ways.oidc)
    })
    return () => {
      shown = false
    }
  }, [])

  async function submit(event: FormEvent) {
    event.preventDefault()
    if (key.trim() === '') {
      document.getElementById(id)?.focus()
      return
    }
    setBusy(true)
    setError(null)
    try {
      await signIn(key.trim())
    } catch (failure) {
      setError(failure)
      setBusy(false)
      document.getElementById(id)?.focus()
    }
  }

  return (
    <div className="sign-in">
      <header className="sign-in-bar">
        <Preferences />
      </header>
      <main className="sign-in-card">
        <Mark />
        <h1>{t('title')}</h1>
        {left && !error ? (
          <p className="notice" role="status">
            <strong>{t('ended')}</strong> {reason ?? t('endedUnknown')}
          </p>
        ) : null}
        {!left && reason && !error ? (
          <p className="notice" role="alert">
            <strong>{t('unreachable')}</strong> {reason}
          </p>
        ) : null}
        {problem && !left && !error ? (
          <p className="notice" role="alert">
            <strong>{t('refused')}.</strong> {t(`problem.${problem}`)}
          </p>
        ) : null}
        {error ? <ProblemNotice error={error} title={t('refused')} /> : null}
        {oidc ? (
          <>
            <Button type="primary" size="large" block href={oidc.url} onClick={leaveForProvider}>
              {t('signInWith', { name: oidc.name })}
            </Button>
            <p className="hint">{t('orByKey')}</p>
          </>
        ) : null}
        <form onSubmit={(event) => void submit(event)}>
          <label htmlFor={id}>{t('key')}</label>
          <input
            id={id}
            className="field"
            type="password"
            autoComplete="current-password"
            autoFocus
            required
            spellCheck={false}
            aria-describedby={`${id}-hint`}
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
          <p id={`${id}-hint`} className="hint">
            {t('hint')}
          </p>
          <Button type={oidc ? 'default' : 'primary'} htmlType="submit" size="large" block loading={busy}>
            {t('signIn')}
          </Button>
        </form>
        <p className="hint">{t('kept')}</p>
      </main>
    </div>
  )
}
