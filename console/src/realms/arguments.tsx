import { Button } from 'antd'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { argumentsOf, withField, type Argument } from './document'

interface Props {
  document: Schemas['RealmDocument']
  onChange: (document: Schemas['RealmDocument']) => void
}

const PLACES = ['body', 'url', 'header']

/** What is sent beside the client's authentication. */
export function Arguments({ document, onChange }: Props) {
  const { t } = useTranslation('realms')
  const list = argumentsOf(document)
  if (!list) return <p className="hint">{t('form.argumentsAsJson')}</p>
  const change = (next: Argument[]) => onChange(withField(document, 'arguments', next))
  const set = (at: number, changed: Partial<Argument>) =>
    change(list.map((argument, which) => (which === at ? { ...argument, ...changed } : argument)))
  return (
    <div className="form-field" role="group" aria-label={t('fields.arguments')}>
      <span className="label">{t('fields.arguments')}</span>
      {list.map((argument, at) => (
        <div key={at} className="line">
          <input
            className="field mono"
            aria-label={t('form.argumentName', { at: at + 1 })}
            value={argument.name}
            spellCheck={false}
            onChange={(event) => set(at, { name: event.target.value })}
          />
          <select
            className="field"
            aria-label={t('form.argumentPlace', { at: at + 1 })}
            value={argument.place}
            onChange={(event) => set(at, { place: event.target.value })}
          >
            {[...new Set([...PLACES, argument.place])].map((place) => (
              <option key={place}>{place}</option>
            ))}
          </select>
          <input
            className="field mono"
            aria-label={t('form.argumentValue', { at: at + 1 })}
            value={argument.value}
            spellCheck={false}
            onChange={(event) => set(at, { value: event.target.value })}
          />
          <Button aria-label={t('form.removeArgument', { at: at + 1 })} onClick={() => change(list.filter((_, which) => which !== at))}>
            ×
          </Button>
        </div>
      ))}
      <Button size="small" onClick={() => change([...list, { name: '', place: 'body', value: '' }])}>
        {t('form.addArgument')}
      </Button>
    </div>
  )
}
