import { Button } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { object, text, withField } from './document'

interface Props {
  document: Schemas['RealmDocument']
  onChange: (document: Schemas['RealmDocument']) => void
}

/** What a secret of the realm must give: its names, what they are, and whether they are hidden. */
export function DeclaredParams({ document, onChange }: Props) {
  const { t } = useTranslation('realms')
  const [name, setName] = useState('')
  const declared = object(document.params)
  const change = (next: Record<string, unknown>) => onChange(withField(document, 'params', next))
  const set = (of: string, field: string, value: unknown) =>
    change({ ...declared, [of]: withField(object(declared[of]), field, value) })
  function add() {
    if (name !== '' && !(name in declared)) change({ ...declared, [name]: {} })
    setName('')
  }
  return (
    <>
      {Object.entries(declared).map(([of, field]) => {
        const param = object(field)
        return (
          <div key={of} className="line param">
            <code className="name">{of}</code>
            <input
              className="field"
              aria-label={t('form.paramTitle', { name: of })}
              placeholder={t('form.paramTitleHint')}
              value={text(param.title)}
              onChange={(event) => set(of, 'title', event.target.value || undefined)}
            />
            <label className="check">
              <input
                type="checkbox"
                checked={param.secret !== false}
                onChange={(event) => set(of, 'secret', event.target.checked ? undefined : false)}
              />
              {t('form.hidden')}
            </label>
            <label className="check">
              <input
                type="checkbox"
                checked={param.optional === true}
                onChange={(event) => set(of, 'optional', event.target.checked || undefined)}
              />
              {t('form.optional')}
            </label>
            <Button
              aria-label={t('form.removeParam', { name: of })}
              onClick={() => change(Object.fromEntries(Object.entries(declared).filter(([other]) => other !== of)))}
            >
              ×
            </Button>
          </div>
        )
      })}
      <div className="line">
        <input
          className="field mono"
          aria-label={t('form.newParam')}
          placeholder={t('form.newParam')}
          value={name}
          spellCheck={false}
          onChange={(event) => setName(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter') return
            event.preventDefault()
            add()
          }}
        />
        <Button onClick={add}>{t('form.addParam')}</Button>
      </div>
    </>
  )
}
