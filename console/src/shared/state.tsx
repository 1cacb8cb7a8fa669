import { useTranslation } from 'react-i18next'
import type { FailureClass, SecretState } from '../api/contract'

export const STATES = [
  'needs_attention',
  'expired',
  'retrying',
  'pending',
  'active',
  'paused',
  'fixed',
] as const satisfies readonly SecretState[]

type Tone = 'good' | 'warn' | 'bad' | 'calm'

const TONES: Record<SecretState, Tone> = {
  active: 'good',
  fixed: 'good',
  pending: 'calm',
  paused: 'calm',
  retrying: 'warn',
  expired: 'bad',
  needs_attention: 'bad',
}

export function toneOf(state: SecretState): Tone {
  return TONES[state]
}

/** A word with a dot of a colour; the word alone says all. */
export function Badge({ tone, children, hint }: { tone: Tone; children: string; hint?: string }) {
  return (
    <span className={`badge ${tone}`} title={hint}>
      <span className="dot" aria-hidden="true" />
      {children}
    </span>
  )
}

export function State({ state }: { state: SecretState }) {
  const { t } = useTranslation()
  return (
    <Badge tone={toneOf(state)} hint={t(`stateHints.${state}`)}>
      {t(`states.${state}`)}
    </Badge>
  )
}

export function ClassOfFailure({ of }: { of: FailureClass }) {
  const { t } = useTranslation()
  return <span title={t(`classHints.${of}`)}>{t(`classes.${of}`)}</span>
}
