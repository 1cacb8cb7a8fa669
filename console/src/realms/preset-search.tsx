import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Button } from 'antd'
import { useTranslation } from 'react-i18next'
import { presetsQuery, type PresetFilter } from '../api/queries'
import { Empty } from '../shared/empty'
import { ChoiceFilter, Filters, TextFilter } from '../shared/filters'
import { ProblemNotice } from '../shared/problem-notice'
import { PAGE_SIZE } from '../shared/page-size'
import { Waiting } from '../shared/waiting'
import { CATEGORIES } from './categories'

interface Props {
  filter: PresetFilter
  onFilter: (filter: PresetFilter) => void
}

/** Finds the preset of a provider by any of its names. */
export function PresetSearch({ filter, onFilter }: Props) {
  const { t, i18n } = useTranslation(['realms', 'common'])
  const { data, error, refetch } = useQuery(presetsQuery(filter))
  const countries = new Intl.DisplayNames(i18n.language, { type: 'region' })
  const page = filter.page ?? 1
  const pages = data ? Math.max(1, Math.ceil(data.total / PAGE_SIZE)) : 1
  return (
    <>
      <Filters label={t('presets.filter')}>
        <TextFilter label={t('presets.search')} value={filter.text} onChange={(text) => onFilter({ ...filter, page: undefined, text })} />
        <ChoiceFilter
          label={t('presets.category')}
          all={t('presets.allCategories')}
          value={filter.category}
          options={CATEGORIES.map((value) => ({ value, label: t(`categories.${value}`) }))}
          onChange={(value) =>
            onFilter({ ...filter, page: undefined, category: CATEGORIES.find((name) => name === value) })
          }
        />
      </Filters>
      {error ? <ProblemNotice error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Waiting label={t('common:loading')} /> : null}
      {data && data.list.length === 0 ? (
        <Empty title={t('presets.none')}>
          <Link to="/new-realm">{t('presets.blank')}</Link>
        </Empty>
      ) : null}
      {data && data.list.length > 0 ? (
        <>
          <p className="hint" role="status">
            {t('presets.found', { count: data.total })}
          </p>
          <ul className="presets">
            {data.list.map((preset) => (
              <li key={preset.id}>
                <Link to="/presets/$id" params={{ id: preset.id }} className="preset">
                  <span className="preset-title">{preset.title}</span>
                  <span className="hint">
                    {[t(`categories.${preset.category}`), countries.of(preset.country), ...preset.names.slice(0, 3)].join(' · ')}
                  </span>
                </Link>
              </li>
            ))}
          </ul>
          {pages > 1 ? (
            <nav className="pager" aria-label={t('common:pager')}>
              <Button disabled={page <= 1} onClick={() => onFilter({ ...filter, page: page - 1 })}>
                {t('common:previous')}
              </Button>
              <span>{t('common:pageOf', { page, pages })}</span>
              <Button disabled={page >= pages} onClick={() => onFilter({ ...filter, page: page + 1 })}>
                {t('common:next')}
              </Button>
            </nav>
          ) : null}
        </>
      ) : null}
    </>
  )
}
