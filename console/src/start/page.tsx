import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { PresetFilter } from '../api/queries'
import { PresetSearch } from '../realms/preset-search'
import { Page } from '../shared/page'

const STEPS = ['provider', 'credentials', 'token', 'curl'] as const

/** What an empty server shows: the way to the first token. */
export function StartPage() {
  const { t } = useTranslation('start')
  const [filter, setFilter] = useState<PresetFilter>({})
  return (
    <Page title={t('title')} lead={t('lead')}>
      <ol className="steps">
        {STEPS.map((step, at) => (
          <li key={step} {...(at === 0 ? { 'aria-current': 'step' as const } : {})}>
            <strong>{t(`steps.${step}.title`)}</strong>
            <span>{t(`steps.${step}.text`)}</span>
          </li>
        ))}
      </ol>
      <h2>{t('choose')}</h2>
      <PresetSearch filter={filter} onFilter={setFilter} />
      <p>
        {t('other')} <Link to="/new-realm">{t('blank')}</Link>
      </p>
    </Page>
  )
}
