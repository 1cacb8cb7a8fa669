import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { Page } from '../shared/page'
import { PresetSearch } from './preset-search'
import { CATEGORIES } from './categories'

export function PresetsPage() {
  const { t } = useTranslation('realms')
  const search = useSearch({ from: '/presets' })
  const navigate = useNavigate({ from: '/presets' })
  const category: Schemas['PresetCategory'] | undefined = CATEGORIES.find((name) => name === search.category)
  return (
    <Page title={t('presets.title')} above={<Link to="/realms">{t('title')}</Link>} lead={t('presets.lead')}>
      <PresetSearch
        filter={{ page: search.page, text: search.text, category }}
        onFilter={(filter) => void navigate({ search: filter, replace: true })}
      />
    </Page>
  )
}
