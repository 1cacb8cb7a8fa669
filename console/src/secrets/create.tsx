import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { realmQuery, realmsQuery } from '../api/queries'
import { Empty } from '../shared/empty'
import { ChoiceFilter } from '../shared/filters'
import { Page } from '../shared/page'
import { ProblemNotice } from '../shared/problem-notice'
import { SecretForm } from './form'

const OFFERED = 1000

export function NewSecretPage() {
  const { t } = useTranslation('secrets')
  const { realm } = useSearch({ from: '/new-secret' })
  const navigate = useNavigate({ from: '/new-secret' })
  const { data: realms, error } = useQuery(realmsQuery({ pageSize: OFFERED }))
  const chosen = useQuery({ ...realmQuery(realm ?? ''), enabled: realm !== undefined })
  return (
    <Page
      title={t('create.title')}
      above={
        <Link to="/secrets" search={{ realm }}>
          {t('title')}
        </Link>
      }
      lead={t('create.lead')}
    >
      {error ? <ProblemNotice error={error} /> : null}
      {realms && realms.total === 0 ? (
        <Empty title={t('create.noRealm')}>
          <Link className="button" to="/presets">
            {t('create.addProvider')}
          </Link>
        </Empty>
      ) : null}
      {realms && realms.total > 0 ? (
        <section className="card form-card">
          <ChoiceFilter
            label={t('realm')}
            all={t('create.choose')}
            value={realm}
            options={realms.list.map(({ id }) => ({ value: id, label: id }))}
            onChange={(value) => void navigate({ search: { realm: value }, replace: true })}
          />
          {chosen.error ? <ProblemNotice error={chosen.error} /> : null}
          {chosen.data ? (
            <SecretForm
              key={chosen.data.id}
              realm={chosen.data}
              saved={(secret) =>
                void navigate({ to: '/secrets/$realm/$key', params: { realm: secret.realm, key: secret.key } })
              }
            />
          ) : null}
        </section>
      ) : null}
    </Page>
  )
}
