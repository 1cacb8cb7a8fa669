import { useTranslation } from 'react-i18next'
import { diff, folded } from './diff'

const SIGNS = { same: ' ', gone: '-', new: '+' } as const

/** What differs between two texts, line by line. */
export function Diff({ before, after }: { before: string; after: string }) {
  const { t } = useTranslation()
  if (before === after) return <p>{t('diff.same')}</p>
  return (
    <pre className="diff" tabIndex={0} aria-label={t('diff.label')}>
      {folded(diff(before, after), 3).map((line, at) =>
        line === null ? (
          <span key={at} className="fold">
            {'…\n'}
          </span>
        ) : (
          <span key={at} className={line.kind}>
            {`${SIGNS[line.kind]} ${line.text}\n`}
          </span>
        ),
      )}
    </pre>
  )
}
