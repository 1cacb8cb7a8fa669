import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { App, ConfigProvider } from 'antd'
import type { Locale } from 'antd/es/locale'
import { useEffect, useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { ProblemError } from '../api/problem'
import { language } from './i18n'
import { useDark, useReducedMotion } from './preferences'
import { themeOf } from './theme'

/** What the server refuses is refused the next time, too; only what cannot be reached is asked for again. */
export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (count, error) => count < 2 && !(error instanceof ProblemError && error.problem.status < 500),
    },
    mutations: { retry: false },
  },
})

const LOCALES = { en: () => import('./antd-en'), zh: () => import('./antd-zh') }

function useAntdLocale(): Locale | undefined {
  const { i18n } = useTranslation()
  const [locale, setLocale] = useState<Locale>()
  useEffect(() => {
    let wanted = true
    void LOCALES[language()]().then((module) => {
      if (wanted) setLocale(module.default)
    })
    return () => {
      wanted = false
    }
  }, [i18n.language])
  return locale
}

export function Providers({ children }: { children: ReactNode }) {
  const dark = useDark()
  const still = useReducedMotion()
  const locale = useAntdLocale()
  useEffect(() => {
    document.documentElement.dataset.theme = dark ? 'dark' : 'light'
  }, [dark])
  return (
    <QueryClientProvider client={queries}>
      <ConfigProvider theme={themeOf(dark, still)} {...(locale ? { locale } : {})} button={{ autoInsertSpace: false }}>
        <App>{children}</App>
      </ConfigProvider>
    </QueryClientProvider>
  )
}
