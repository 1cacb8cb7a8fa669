import { Button } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'

/** Puts a text on the clipboard, and says so where it stands. */
export function CopyButton({ text, label }: { text: string; label?: string }) {
  const { t } = useTranslation()
  const [copied, setCopied] = useState(false)
  async function copy() {
    await navigator.clipboard.writeText(text)
    setCopied(true)
    setTimeout(() => setCopied(false), 2000)
  }
  // Without TLS browsers give no clipboard but on this machine; the text can be marked by hand.
  if (!navigator.clipboard) return null
  return (
    <Button size="small" onClick={() => void copy()}>
      <span aria-live="polite">{copied ? t('copied') : (label ?? t('copy'))}</span>
    </Button>
  )
}

/** A block of code that can be copied. */
export function Code({ text, label }: { text: string; label: string }) {
  return (
    <div className="code">
      <pre tabIndex={0} aria-label={label}>
        {text}
      </pre>
      <CopyButton text={text} />
    </div>
  )
}
