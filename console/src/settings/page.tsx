import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import { settingsQuery } from '../api/queries'
import { Page } from '../shared/page'
import { ProblemNotice } from '../shared/problem-notice'
import { Waiting } from '../shared/waiting'
import { Configuration } from './configuration'
import { flattened } from './flattened'
import { KeyRing } from './key-ring'

/** How this server is set up. */
export function SettingsPage() {
  const { t } = useTranslation(['settings', 'common'])
  const { data, error, refetch } = useQuery(settingsQuery)
  return (
    <Page title={t('title')} lead={t('lead')}>
      {error ? <ProblemNotice error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Waiting label={t('common:loading')} /> : null}
      {data ? (
        <>
          <dl className="facts-list card">
            <div>
              <dt>{t('version')}</dt>
              <dd>{data.version}</dd>
            </div>
            <div>
              <dt>{t('replica')}</dt>
              <dd>{data.replica}</dd>
            </div>
            <div>
              <dt>{t('database')}</dt>
              <dd>{data.database}</dd>
            </div>
          </dl>
          <KeyRing keys={data.sealing_keys} />
          <Configuration settings={flattened(data.configuration)} />
        </>
      ) : null}
    </Page>
  )
}
