import i18n from 'i18next'
import { initReactI18next } from 'react-i18next'
import type en from '../locales/en'
import { stored } from './stored'

export const LANGUAGES = ['en', 'zh'] as const
export type Language = (typeof LANGUAGES)[number]
export const LANGUAGE_NAMES: Record<Language, string> = { en: 'English', zh: '中文' }

declare module 'i18next' {
  interface CustomTypeOptions {
    defaultNS: 'common'
    resources: typeof en
  }
}

const LOADERS: Record<Language, () => Promise<{ default: object }>> = {
  en: () => import('../locales/en'),
  zh: () => import('../locales/zh'),
}

function isLanguage(value: string | null): value is Language {
  return LANGUAGES.some((language) => language === value)
}

export function language(): Language {
  return isLanguage(i18n.language) ? i18n.language : 'en'
}

/** The language chosen before, or that of the browser. */
function preferred(): Language {
  const chosen = stored.get('language')
  if (isLanguage(chosen)) return chosen
  return navigator.languages.find((tag) => /^(en|zh)\b/i.test(tag))?.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

async function load(wanted: Language) {
  if (i18n.hasResourceBundle(wanted, 'common')) return
  const texts: Record<string, unknown> = { ...(await LOADERS[wanted]()).default }
  for (const [namespace, bundle] of Object.entries(texts)) i18n.addResourceBundle(wanted, namespace, bundle)
}

export async function changeLanguage(wanted: Language) {
  await load(wanted)
  await i18n.changeLanguage(wanted)
  document.documentElement.lang = wanted === 'zh' ? 'zh-Hans' : 'en'
  stored.set('language', wanted)
}

export async function startI18n() {
  await i18n.use(initReactI18next).init({
    resources: {},
    lng: 'en',
    fallbackLng: false,
    defaultNS: 'common',
    interpolation: { escapeValue: false },
    react: { useSuspense: false },
  })
  await changeLanguage(preferred())
}
