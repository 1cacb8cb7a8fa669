import { useEffect, useRef, type ReactNode } from 'react'
import { usePageTitle } from './page-title'

interface Props {
  title: string
  /** What stands before the title, such as the way back. */
  above?: ReactNode
  /** One sentence on what the page is for. */
  lead?: ReactNode
  actions?: ReactNode
  children: ReactNode
}

/** A page: its heading takes the focus, so that whoever hears the page hears where he is. */
export function Page({ title, above, lead, actions, children }: Props) {
  usePageTitle(title)
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (document.activeElement === null || document.activeElement === document.body || inNavigation()) {
      heading.current?.focus({ preventScroll: true })
    }
  }, [])
  return (
    <div className="page">
      {above ? <div className="above">{above}</div> : null}
      <div className="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {lead ? <p className="lead">{lead}</p> : null}
        </div>
        {actions ? <div className="actions">{actions}</div> : null}
      </div>
      {children}
    </div>
  )
}

function inNavigation(): boolean {
  return document.activeElement?.closest('nav') !== null
}
