import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { Diff } from '../shared/diff-view'

const lines = (value: unknown): string => (value == null ? '' : JSON.stringify(value, null, 2))

/** One entry in full: what it changed, why it was denied, and where it is in its chain. */
export function Entry({ entry }: { entry: Schemas['AuditEntry'] }) {
  const { t } = useTranslation('audit')
  const changed = entry.before != null || entry.after != null
  return (
    <div className="entry">
      {entry.detail ? <p lang="en">{entry.detail}</p> : null}
      {changed ? <Diff before={lines(entry.before)} after={lines(entry.after)} /> : <p className="hint">{t('noChange')}</p>}
      <dl className="facts-list narrow">
        <div>
          <dt>{t('actor')}</dt>
          <dd>{entry.actor ?? t('nobody')}</dd>
        </div>
        <div>
          <dt>{t('request')}</dt>
          <dd>
            <code>{entry.request_id ?? '-'}</code>
          </dd>
        </div>
        <div>
          <dt>{t('chain')}</dt>
          <dd>
            {entry.chain ? (
              <>
                <code>{entry.chain}</code> {t('place', { seq: entry.seq })}
              </>
            ) : (
              t('noChain')
            )}
          </dd>
        </div>
      </dl>
    </div>
  )
}
