import { Button } from 'antd'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { ProblemError } from '../api/problem'
import { useMay } from '../session/use-session'
import { ProblemNotice } from '../shared/problem-notice'
import { Waiting } from '../shared/waiting'
import { DocumentForm } from './document-form'
import { DryRunPanel } from './dry-run'
import { isDeclared, paramsOf } from './params'
import { ParamsForm } from './params-form'
import { SaveDialog } from './save-dialog'

const JsonEditor = lazy(() => import('../json/editor'))

type Document = Schemas['RealmDocument']

interface Props {
  id: string
  comment: string
  /** What is stored; null for a new realm. */
  before: Document | null
  document: Document
  saved: (id: string) => void
}

/** A document as a form or as JSON, and a dry run of it on the other side. */
export function RealmEditor({ id, comment, before, document: initial, saved }: Props) {
  const { t } = useTranslation(['realms', 'common'])
  const may = useMay()
  const [text, setText] = useState(() => JSON.stringify(initial, null, 2))
  const [asJson, setAsJson] = useState(before !== null)
  const [error, setError] = useState<unknown>(null)
  const [values, setValues] = useState<Record<string, string>>({})
  const [saving, setSaving] = useState(false)
  const document = read(text)
  const faults = error instanceof ProblemError ? (error.problem.errors ?? []) : []
  const allowed = may('realm:write', id || undefined)
  function show(next: string) {
    setText(next)
    setError(null)
  }
  return (
    <>
      <div className="beside">
        <section className="card" aria-labelledby="document">
          <div className="card-head">
            <h2 id="document">{t('editor.title')}</h2>
            <div className="toggle" role="group" aria-label={t('editor.how')}>
              <button type="button" aria-pressed={!asJson} disabled={!document} onClick={() => setAsJson(false)}>
                {t('editor.form')}
              </button>
              <button type="button" aria-pressed={asJson} onClick={() => setAsJson(true)}>
                JSON
              </button>
            </div>
          </div>
          {asJson || !document ? (
            <Suspense fallback={<Waiting label={t('common:loading')} />}>
              <JsonEditor label={t('editor.json')} value={text} onChange={show} faults={faults} />
            </Suspense>
          ) : (
            <DocumentForm document={document} onChange={(next) => show(JSON.stringify(next, null, 2))} />
          )}
          {document ? null : (
            <p className="fault" role="alert">
              {t('editor.noJson')}
            </p>
          )}
          {error ? <ProblemNotice error={error} title={t('editor.refused')} /> : null}
          <div className="form-actions">
            <Button type="primary" disabled={!allowed || !document || id === ''} onClick={() => setSaving(true)}>
              {t('editor.save')}
            </Button>
            {allowed ? null : <span className="hint">{t('notAllowed')}</span>}
            {id === '' ? <span className="hint">{t('editor.nameFirst')}</span> : null}
          </div>
        </section>
        <section className="card" aria-labelledby="dry-run">
          <h2 id="dry-run">{t('dryRun.title')}</h2>
          {document ? (
            <>
              {isDeclared(document) ? (
                <ParamsForm params={paramsOf(document)} values={values} onChange={setValues} checked={false} />
              ) : null}
              <DryRunPanel document={document} params={values} onError={setError} />
            </>
          ) : null}
        </section>
      </div>
      {document ? (
        <SaveDialog
          open={saving}
          id={id}
          comment={comment}
          before={before}
          after={document}
          onClose={() => setSaving(false)}
          failed={(failure) => {
            setSaving(false)
            setError(failure)
          }}
          saved={saved}
        />
      ) : null}
    </>
  )
}

function read(text: string): Document | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Document) : null
  } catch {
    return null
  }
}
