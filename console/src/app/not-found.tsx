import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { Page } from '../shared/page'
import { ProblemNotice } from '../shared/problem-notice'

export function NotFound() {
  const { t } = useTranslation()
  return (
    <Page title={t('notFound.title')}>
      <p>{t('notFound.text')}</p>
      <Link to="/">{t('nav.overview')}</Link>
    </Page>
  )
}

export function Failed({ error }: { error: unknown }) {
  const { t } = useTranslation()
  return (
    <Page title={t('failed.title')}>
      <ProblemNotice error={error} />
      <p>
        <a href="/console">{t('failed.again')}</a>
      </p>
    </Page>
  )
}
