import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Filters, TextFilter } from '../shared/filters'
import type { Setting } from './flattened'

/** What is in force, without secrets. */
export function Configuration({ settings }: { settings: readonly Setting[] }) {
  const { t } = useTranslation('settings')
  const [text, setText] = useState<string>()
  const listed = settings.filter((one) => !text || one.name.includes(text.toLowerCase()))
  return (
    <section className="card" aria-labelledby="configuration">
      <h2 id="configuration">{t('configuration.title')}</h2>
      <p className="hint">{t('configuration.lead')}</p>
      <Filters label={t('configuration.filter')}>
        <TextFilter label={t('configuration.search')} value={text} onChange={setText} />
      </Filters>
      {listed.length === 0 ? <p className="hint">{t('configuration.none')}</p> : null}
      <table className="plain-table settings-table">
        <thead>
          <tr>
            <th scope="col">{t('configuration.name')}</th>
            <th scope="col">{t('configuration.value')}</th>
          </tr>
        </thead>
        <tbody>
          {listed.map((one) => (
            <tr key={one.name}>
              <th scope="row">
                <code>{one.name}</code>
              </th>
              <td>
                <code>{one.value}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
