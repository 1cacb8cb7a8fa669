import { useTranslation } from 'react-i18next'
import type { DryRun, Schemas } from '../api/contract'
import { ClassOfFailure } from '../shared/state'

const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value, null, 2))

/** What was or would be sent, what came back, and how each field of it was read. */
export function DryRunResult({ result }: { result: DryRun }) {
  const { t } = useTranslation('realms')
  return (
    <div aria-live="polite">
      {result.warnings && result.warnings.length > 0 ? (
        <ul className="warnings" lang="en">
          {result.warnings.map((warning) => (
            <li key={warning.pointer + warning.detail}>
              <code>{warning.pointer}</code> {warning.detail}
            </li>
          ))}
        </ul>
      ) : null}
      {result.exchanges.map((exchange) => (
        <section key={exchange.name} className="exchange" aria-label={exchange.name}>
          <h3>{exchange.name}</h3>
          {exchange.request ? <Request request={exchange.request} /> : null}
          {exchange.answer ? <Answer answer={exchange.answer} /> : null}
          {exchange.reading ? <Reading reading={exchange.reading} /> : null}
          {exchange.failure ? <Failure failure={exchange.failure} /> : null}
        </section>
      ))}
      {result.minted ? (
        <section className="exchange">
          <h3>{t('dryRun.minted')}</h3>
          <Reading reading={result.minted} />
        </section>
      ) : null}
    </div>
  )
}

function Request({ request }: { request: Schemas['DryRunRequest'] }) {
  const { t } = useTranslation('realms')
  const lines = [`${request.method} ${request.url}`, ...request.headers.map(({ name, value }) => `${name}: ${value}`)]
  const body = request.body == null ? '' : `\n\n${shown(request.body)}`
  return (
    <>
      <h4>{t('dryRun.request')}</h4>
      <pre tabIndex={0} aria-label={t('dryRun.request')}>
        {lines.join('\n') + body}
      </pre>
    </>
  )
}

function Answer({ answer }: { answer: Schemas['DryRunResponse'] }) {
  const { t } = useTranslation('realms')
  const headers = answer.headers.map(({ name, value }) => `${name}: ${value}`).join('\n')
  return (
    <>
      <h4>{t('dryRun.answer', { status: answer.status })}</h4>
      <pre tabIndex={0} aria-label={t('dryRun.answer', { status: answer.status })}>
        {`${headers}\n\n${answer.body == null ? '' : shown(answer.body)}`}
      </pre>
    </>
  )
}

function Reading({ reading }: { reading: Schemas['DryRunReading'] }) {
  const { t } = useTranslation('realms')
  return (
    <>
      <table className="plain-table">
        <caption>{t('dryRun.reading')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('dryRun.field')}</th>
            <th scope="col">{t('dryRun.by')}</th>
            <th scope="col">{t('dryRun.found')}</th>
          </tr>
        </thead>
        <tbody>
          {reading.fields.map((field) => (
            <tr key={field.field}>
              <th scope="row">
                <code>{field.field}</code>
              </th>
              <td>{field.by ? <code>{field.by}</code> : null}</td>
              <td>
                {field.found == null ? <span className="bad">{t('dryRun.nothing')}</span> : <code>{shown(field.found)}</code>}
                {field.detail ? (
                  <div className="hint" lang="en">
                    {field.detail}
                  </div>
                ) : null}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {reading.failure ? <Failure failure={reading.failure} /> : <p className="good">{t('dryRun.good')}</p>}
    </>
  )
}

function Failure({ failure }: { failure: Schemas['DryRunFailure'] }) {
  const { t } = useTranslation('realms')
  return (
    <div className="problem">
      <p className="problem-title">
        {t('dryRun.noToken')} (<ClassOfFailure of={failure.class} />
        {failure.code ? `, ${failure.code}` : ''})
      </p>
      <p lang="en">{failure.detail}</p>
    </div>
  )
}
