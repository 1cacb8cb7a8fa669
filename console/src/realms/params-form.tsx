import { useTranslation } from 'react-i18next'
import { Field } from '../shared/field'
import { faultOf, isLong, type Param } from './params'

interface Props {
  params: readonly Param[]
  values: Record<string, string>
  onChange: (values: Record<string, string>) => void
  /** Whether faults are shown: not before somebody tried to save. */
  checked: boolean
  /** The server's own word on a parameter, by its name. */
  faults?: Record<string, string>
}

/** A form of what a secret must give. */
export function ParamsForm({ params, values, onChange, checked, faults = {} }: Props) {
  const { t } = useTranslation('realms')
  return (
    <>
      {params.map((param) => {
        const value = values[param.name] ?? ''
        const own = checked ? faultOf(param, value) : null
        const fault = faults[param.name] ?? (own ? t(`params.${own}`, { pattern: param.pattern ?? '' }) : null)
        const change = (next: string) => onChange({ ...values, [param.name]: next })
        return (
          <Field key={param.name} label={param.label} required={param.required} fault={fault} hint={hint(param)}>
            {(control) =>
              param.choices ? (
                <select {...control} className="field" value={value} onChange={(event) => change(event.target.value)}>
                  <option value="">{param.byDefault ? t('params.default', { value: param.byDefault }) : ''}</option>
                  {param.choices.map((choice) => (
                    <option key={choice}>{choice}</option>
                  ))}
                </select>
              ) : isLong(param) ? (
                <textarea
                  {...control}
                  className="field mono"
                  rows={4}
                  spellCheck={false}
                  autoComplete="off"
                  value={value}
                  onChange={(event) => change(event.target.value)}
                />
              ) : (
                <input
                  {...control}
                  className="field"
                  type={param.secret ? 'password' : 'text'}
                  autoComplete={param.secret ? 'new-password' : 'off'}
                  spellCheck={false}
                  placeholder={param.byDefault ?? ''}
                  value={value}
                  onChange={(event) => change(event.target.value)}
                />
              )
            }
          </Field>
        )
      })}
    </>
  )

  function hint(param: Param) {
    const parts = [param.hint, param.label === param.name ? null : t('params.name', { name: param.name })]
    if (!param.required) parts.push(t('params.optional'))
    return parts.filter(Boolean).join(' · ')
  }
}
