// What the reader prefers.
import { useSyncExternalStore } from 'react'
import { stored } from './stored'

export const THEMES = ['system', 'light', 'dark'] as const
export type ThemeChoice = (typeof THEMES)[number]

const dark = matchMedia('(prefers-color-scheme: dark)')
const still = matchMedia('(prefers-reduced-motion: reduce)')
const listeners = new Set<() => void>()
let choice: ThemeChoice = THEMES.find((theme) => theme === stored.get('theme')) ?? 'system'

function subscribe(listener: () => void) {
  listeners.add(listener)
  dark.addEventListener('change', listener)
  still.addEventListener('change', listener)
  return () => {
    listeners.delete(listener)
    dark.removeEventListener('change', listener)
    still.removeEventListener('change', listener)
  }
}

export function chooseTheme(theme: ThemeChoice) {
  choice = theme
  stored.set('theme', theme)
  for (const listener of listeners) listener()
}

export function useThemeChoice(): ThemeChoice {
  return useSyncExternalStore(subscribe, () => choice)
}

export function useDark(): boolean {
  return useSyncExternalStore(subscribe, () => (choice === 'system' ? dark.matches : choice === 'dark'))
}

export function useReducedMotion(): boolean {
  return useSyncExternalStore(subscribe, () => still.matches)
}
