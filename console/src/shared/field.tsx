import { useId, type ReactNode } from 'react'

interface Props {
  label: string
  hint?: ReactNode
  /** What is wrong with the value. */
  fault?: string | null | undefined
  required?: boolean
  /** `id` is the control's, `describedBy` what it is described by. */
  children: (control: { id: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean }) => ReactNode
}

/** A labelled field with its hint and its fault. */
export function Field({ label, hint, fault, required, children }: Props) {
  const id = useId()
  const described = [hint ? `${id}-hint` : '', fault ? `${id}-fault` : ''].filter(Boolean).join(' ') || undefined
  return (
    <div className="form-field">
      <label htmlFor={id}>
        {label}
        {required ? <span aria-hidden="true"> *</span> : null}
      </label>
      {children({ id, 'aria-describedby': described, 'aria-invalid': Boolean(fault) })}
      {hint ? (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      ) : null}
      {fault ? (
        <p id={`${id}-fault`} className="fault" role="alert">
          {fault}
        </p>
      ) : null}
    </div>
  )
}
