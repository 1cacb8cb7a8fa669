import { Button } from 'antd'
import type { ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { ProblemError, UnreachableError } from '../api/problem'
import { adviceOf } from './advice'

interface Props {
  error: unknown
  title?: string
  retry?: () => void
  children?: ReactNode
}

/** What went wrong, in the server's words, and what to do about it. */
export function ProblemNotice({ error, title, retry, children }: Props) {
  const { t } = useTranslation('problems')
  const problem = error instanceof ProblemError ? error.problem : null
  const advice = adviceOf(error)
  const detail = problem?.detail ?? (error instanceof Error ? error.message : String(error))
  return (
    <div className="problem" role="alert">
      <p className="problem-title">{title ?? (error instanceof UnreachableError ? t('unreachable') : t('title'))}</p>
      <p className="problem-detail" lang="en">
        {detail}
      </p>
      {advice ? <p>{t(`advice.${advice}`)}</p> : null}
      {problem?.errors && problem.errors.length > 0 ? (
        <ul>
          {problem.errors.map((fault) => (
            <li key={`${fault.pointer} ${fault.detail}`} lang="en">
              {fault.pointer ? <code>{fault.pointer}</code> : null} {fault.detail}
            </li>
          ))}
        </ul>
      ) : null}
      {children}
      {problem ? (
        <p className="hint">
          {t('reference', { code: problem.code, request: problem.request_id })}
        </p>
      ) : null}
      {retry ? (
        <Button size="small" onClick={retry}>
          {t('again')}
        </Button>
      ) : null}
    </div>
  )
}
