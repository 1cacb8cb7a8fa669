import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Preset } from '../api/contract'
import { presetQuery } from '../api/queries'
import { FirstToken } from '../start/first-token'
import { Page } from '../shared/page'
import { ProblemNotice } from '../shared/problem-notice'
import { Waiting } from '../shared/waiting'
import { PresetSetup } from './preset-setup'

/** From a preset to a token: what the provider says, what it needs, and what came of it. */
export function PresetPage() {
  const { t } = useTranslation(['realms', 'common'])
  const { id } = useParams({ from: '/presets/$id' })
  const { data, error, refetch } = useQuery(presetQuery(id))
  const [made, setMade] = useState<{ realm: string; key: string } | null>(null)
  return (
    <Page title={data?.title ?? id} above={<Link to="/presets">{t('presets.title')}</Link>}>
      {error ? <ProblemNotice error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Waiting label={t('common:loading')} /> : null}
      {data ? (
        made ? (
          <FirstToken realm={made.realm} secretKey={made.key} />
        ) : (
          <div className="beside">
            <PresetSetup preset={data} done={(realm, key) => setMade({ realm, key })} />
            <AboutPreset preset={data} />
          </div>
        )
      ) : null}
    </Page>
  )
}

function AboutPreset({ preset }: { preset: Preset }) {
  const { t } = useTranslation(['realms', 'common'])
  return (
    <aside className="card" aria-labelledby="about">
      <h2 id="about">{t('preset.about')}</h2>
      <p>
        <a href={preset.documentation} target="_blank" rel="noreferrer">
          {t('preset.documentation')}
        </a>
      </p>
      <ul className="facts" lang="en">
        {preset.facts.map((fact) => (
          <li key={fact}>{fact}</li>
        ))}
      </ul>
      <p className="hint">{t(`preset.verified.${preset.verified}`)}</p>
      <details>
        <summary>{t('preset.sources')}</summary>
        <ul className="facts">
          {preset.sources.map((source) => (
            <li key={source.url} lang="en">
              <a href={source.url} target="_blank" rel="noreferrer">
                {source.for}
              </a>{' '}
              <span className="hint">{source.read}</span>
            </li>
          ))}
        </ul>
      </details>
    </aside>
  )
}
