import { Button, Progress } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { auditPage, type AuditFilter } from '../api/queries'
import { useAction } from '../shared/use-action'
import { exported, MOST } from './exported'

/** Saves the entries that the filters leave as lines of JSON, the newest first. */
export function Export({ filter, total }: { filter: AuditFilter; total: number }) {
  const { t, i18n } = useTranslation('audit')
  const [progress, setProgress] = useState<number | null>(null)
  const number = new Intl.NumberFormat(i18n.language)
  const run = useAction<void, number>({
    run: async () => {
      setProgress(0)
      try {
        const until = filter.until ?? Date.now()
        const entries = await exported((page, size) => auditPage({ ...filter, until, page }, size), setProgress)
        save(entries.map((entry) => JSON.stringify(entry)).join('\n') + '\n')
        return entries.length
      } finally {
        setProgress(null)
      }
    },
    done: (count) => t('export.done', { count }),
  })
  if (total === 0) return null
  return (
    <>
      {progress === null ? null : (
        <Progress percent={Math.round(progress * 100)} size="small" style={{ width: 120 }} aria-label={t('export.progress')} />
      )}
      <Button onClick={() => run.mutate()} loading={run.isPending}>
        {total > MOST ? t('export.latest', { most: number.format(MOST) }) : t('export.action')}
      </Button>
    </>
  )
}

function save(text: string) {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/x-ndjson' }))
  const link = document.createElement('a')
  link.href = url
  link.download = `audit-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.jsonl`
  link.click()
  URL.revokeObjectURL(url)
}
