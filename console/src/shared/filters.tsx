import { useEffect, useId, useState, type ReactNode } from 'react'

const AFTER_TYPING_MS = 300

interface TextProps {
  label: string
  value: string | undefined
  onChange: (value: string | undefined) => void
  type?: 'search' | 'datetime-local'
}

/** A filter that is applied a moment after the last letter. */
export function TextFilter({ label, value, onChange, type = 'search' }: TextProps) {
  const id = useId()
  const [text, setText] = useState(value ?? '')
  useEffect(() => setText(value ?? ''), [value])
  useEffect(() => {
    if (text === (value ?? '')) return
    const timer = setTimeout(() => onChange(text || undefined), AFTER_TYPING_MS)
    return () => clearTimeout(timer)
  }, [text, value, onChange])
  return (
    <div className="filter">
      <label htmlFor={id}>{label}</label>
      <input id={id} className="field" type={type} value={text} onChange={(event) => setText(event.target.value)} />
    </div>
  )
}

interface ChoiceProps {
  label: string
  value: string | undefined
  all: string
  options: readonly { value: string; label: string }[]
  onChange: (value: string | undefined) => void
}

export function ChoiceFilter({ label, value, all, options, onChange }: ChoiceProps) {
  const id = useId()
  return (
    <div className="filter">
      <label htmlFor={id}>{label}</label>
      <select
        id={id}
        className="field"
        value={value ?? ''}
        onChange={(event) => onChange(event.target.value || undefined)}
      >
        <option value="">{all}</option>
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </div>
  )
}

export function Filters({ label, children }: { label: string; children: ReactNode }) {
  return (
    <search className="filters" aria-label={label}>
      {children}
    </search>
  )
}
