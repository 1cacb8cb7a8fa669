import { useTranslation } from 'react-i18next'
import type { Scope } from '../api/contract'
import { useMay } from '../session/use-session'
import { SCOPES, textOf } from './scopes'

interface Props {
  scopes: readonly Scope[]
  onChange: (scopes: Scope[]) => void
  fault: string | null
}

/** What a key is good for; nobody gives what he lacks. */
export function ScopeChoice({ scopes, onChange, fault }: Props) {
  const { t } = useTranslation('access')
  const may = useMay()
  return (
    <fieldset>
      <legend>{t('new.scopes')}</legend>
      <div className="scopes">
        {SCOPES.map((scope) => (
          <label key={scope} className="check" title={may(scope) ? undefined : t('new.lacking')}>
            <input
              type="checkbox"
              checked={scopes.includes(scope)}
              disabled={!may(scope)}
              onChange={(event) =>
                onChange(SCOPES.filter((one) => (one === scope ? event.target.checked : scopes.includes(one))))
              }
            />
            <span>
              <code>{scope}</code> <span className="hint">{t(`scopes.${textOf(scope)}`)}</span>
            </span>
          </label>
        ))}
      </div>
      {fault ? (
        <p className="fault" role="alert">
          {fault}
        </p>
      ) : null}
    </fieldset>
  )
}
