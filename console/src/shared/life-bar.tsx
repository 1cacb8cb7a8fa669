import { useTranslation } from 'react-i18next'
import { lifeOf } from './life'
import { duration } from './time'
import { useNow } from './use-now'

interface Props {
  from: string | null
  renewAt: string | null
  expiresAt: string | null
}

/** The life of a token, which gets shorter while one looks; a mark where it is renewed. */
export function LifeBar({ from, renewAt, expiresAt }: Props) {
  const { t, i18n } = useTranslation('secrets')
  const now = useNow()
  const life = lifeOf(from, renewAt, expiresAt, now)
  if (!life) return null
  const left = duration(life.leftMs, i18n.language)
  const text = life.leftMs > 0 ? t('life.left', { left, all: duration(life.allMs, i18n.language) }) : t('life.over')
  return (
    <div className={`life ${life.tone}`}>
      <div
        className="life-track"
        role="meter"
        aria-label={t('life.label')}
        aria-valuemin={0}
        aria-valuemax={Math.round(life.allMs / 1000)}
        aria-valuenow={Math.round(life.leftMs / 1000)}
        aria-valuetext={text}
      >
        <div className="life-left" style={{ width: `${life.leftShare * 100}%` }} />
        {life.renewShare === null ? null : (
          <div className="life-renew" style={{ left: `${life.renewShare * 100}%` }} />
        )}
      </div>
      <p className="life-text">
        {text}
        {life.renewShare === null ? null : <span className="hint"> · {t('life.renewHere')}</span>}
      </p>
    </div>
  )
}
