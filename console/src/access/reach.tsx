import { useTranslation } from 'react-i18next'

/** Which realms and secrets a key reaches, in a sentence. */
export function Reach({ realms, keys }: { realms: string[] | null; keys: string[] | null }) {
  const { t } = useTranslation('access')
  return (
    <div className="hint">
      {realms ? t('reach.realms', { names: realms.join(', ') }) : t('reach.allRealms')}
      {' · '}
      {keys ? t('reach.keys', { names: keys.join(', ') }) : t('reach.allKeys')}
    </div>
  )
}
