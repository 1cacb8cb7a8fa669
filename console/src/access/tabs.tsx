import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'

/** The parts of the page on access. */
export function AccessTabs() {
  const { t } = useTranslation('access')
  return (
    <nav className="tabs" aria-label={t('title')}>
      <Link to="/access" activeProps={{ className: 'active' }}>
        {t('keys')}
      </Link>
      <Link to="/issuers" activeProps={{ className: 'active' }}>
        {t('issuers.title')}
      </Link>
    </nav>
  )
}
