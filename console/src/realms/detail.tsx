import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { Button } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { codeOf } from '../api/problem'
import { realmQuery, secretsQuery } from '../api/queries'
import { useMay } from '../session/use-session'
import { Moment } from '../shared/moment'
import { Page } from '../shared/page'
import { ProblemNotice } from '../shared/problem-notice'
import { Badge } from '../shared/state'
import { Waiting } from '../shared/waiting'
import { DeleteRealm } from './delete-dialog'
import { RealmEditor } from './editor'

export function RealmPage() {
  const { t } = useTranslation(['realms', 'common'])
  const { id } = useParams({ from: '/realms/$id' })
  const may = useMay()
  const navigate = useNavigate()
  const { data: realm, error, refetch } = useQuery(realmQuery(id))
  const { data: secrets } = useQuery({ ...secretsQuery({ realm: id, pageSize: 1 }), enabled: may('secret:read') })
  const [deleting, setDeleting] = useState(false)
  const gone = codeOf(error) === 'unknown_realm'
  return (
    <Page
      title={id}
      above={<Link to="/realms">{t('title')}</Link>}
      lead={realm?.comment}
      actions={
        <>
          {may('secret:write', id) && realm ? (
            <Link className="button" to="/new-secret" search={{ realm: id }}>
              {t('detail.addSecret')}
            </Link>
          ) : null}
          {may('realm:write', id) && realm ? (
            <Button danger onClick={() => setDeleting(true)}>
              {t('detail.delete')}
            </Button>
          ) : null}
        </>
      }
    >
      {error ? <ProblemNotice error={error} {...(gone ? {} : { retry: () => void refetch() })} /> : null}
      {!realm && !error ? <Waiting label={t('common:loading')} /> : null}
      {realm ? (
        <>
          {realm.unreadable ? (
            <div className="problem" role="alert">
              <p className="problem-title">{t('health.unreadable')}</p>
              <p lang="en">{realm.unreadable}</p>
            </div>
          ) : null}
          <dl className="facts-list">
            <div>
              <dt>{t('detail.secrets')}</dt>
              <dd>
                {secrets ? (
                  <Link to="/secrets" search={{ realm: id }}>
                    {t('detail.count', { count: secrets.total })}
                  </Link>
                ) : (
                  '-'
                )}
              </dd>
            </div>
            <div>
              <dt>{t('columns.version')}</dt>
              <dd>{realm.version}</dd>
            </div>
            <div>
              <dt>{t('columns.updated')}</dt>
              <dd>
                <Moment at={realm.updated_at} />
              </dd>
            </div>
            {realm.blocked_until && Date.parse(realm.blocked_until) > Date.now() ? (
              <div>
                <dt>{t('detail.blocked')}</dt>
                <dd>
                  <Badge tone="warn">{t('health.blocked')}</Badge> <Moment at={realm.blocked_until} />
                </dd>
              </div>
            ) : null}
          </dl>
          {realm.warnings && realm.warnings.length > 0 ? (
            <ul className="warnings" lang="en">
              {realm.warnings.map((warning) => (
                <li key={warning.pointer + warning.detail}>
                  <code>{warning.pointer}</code> {warning.detail}
                </li>
              ))}
            </ul>
          ) : null}
          {realm.config ? (
            <RealmEditor
              key={realm.version}
              id={id}
              comment={realm.comment ?? ''}
              before={realm.config}
              document={realm.config}
              saved={() => void refetch()}
            />
          ) : (
            <section className="card">
              <h2>{t(realm.logic_code ? 'kinds.logic' : 'kinds.fixed')}</h2>
              <p>{realm.logic_code ? <code>{realm.logic_code}</code> : t('detail.fixed')}</p>
            </section>
          )}
          <DeleteRealm
            id={id}
            secrets={secrets?.total}
            open={deleting}
            onClose={() => setDeleting(false)}
            deleted={() => void navigate({ to: '/realms' })}
          />
        </>
      ) : null}
    </Page>
  )
}
