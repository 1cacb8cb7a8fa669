import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Settings } from '../api/contract'
import { Filters, TextFilter } from '../shared/filters'

const shown = (value: unknown): string =>
  value === null || value === undefined ? '-' : typeof value === 'string' ? value : JSON.stringify(value)

/** What is in force, without secrets; what differs from the default is marked. */
export function Configuration({ settings }: { settings: Settings['configuration'] }) {
  const { t } = useTranslation('settings')
  const [text, setText] = useState<string>()
  const [changedOnly, setChangedOnly] = useState(false)
  const changed = (one: Settings['configuration'][number]) =>
    one.default !== undefined && JSON.stringify(one.default) !== JSON.stringify(one.value)
  const listed = settings.filter((one) => (!text || one.name.includes(text.toLowerCase())) && (!changedOnly || changed(one)))
  return (
    <section className="card" aria-labelledby="configuration">
      <h2 id="configuration">{t('configuration.title')}</h2>
      <p className="hint">{t('configuration.lead')}</p>
      <Filters label={t('configuration.filter')}>
        <TextFilter label={t('configuration.search')} value={text} onChange={setText} />
        <label className="check">
          <input type="checkbox" checked={changedOnly} onChange={(event) => setChangedOnly(event.target.checked)} />
          {t('configuration.changed')}
        </label>
      </Filters>
      {listed.length === 0 ? <p className="hint">{t('configuration.none')}</p> : null}
      <div className="scroll" tabIndex={0} role="region" aria-labelledby="configuration">
        <table className="plain-table">
          <thead>
            <tr>
              <th scope="col">{t('configuration.name')}</th>
              <th scope="col">{t('configuration.value')}</th>
              <th scope="col">{t('configuration.default')}</th>
            </tr>
          </thead>
          <tbody>
            {listed.map((one) => (
              <tr key={one.name} className={changed(one) ? 'changed' : ''}>
                <th scope="row">
                  <code>{one.name}</code>
                </th>
                <td>
                  <code>{shown(one.value)}</code>
                </td>
                <td>
                  <code className="muted">{shown(one.default)}</code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}
