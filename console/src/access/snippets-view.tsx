import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Code } from '../shared/copy'
import { snippetsOf } from './snippets'

interface Props {
  apiKey: string
  realm: string
  secretKey: string
}

/** A new API key, and how it is used. It is shown this once. */
export function Snippets({ apiKey, realm, secretKey }: Props) {
  const { t } = useTranslation('access')
  const snippets = snippetsOf(location.origin, realm, secretKey, apiKey)
  const [name, setName] = useState<string>(snippets[0].name)
  const chosen = snippets.find((snippet) => snippet.name === name) ?? snippets[0]
  return (
    <>
      <p role="status">
        <strong>{t('made.once')}</strong>
      </p>
      <Code text={apiKey} label={t('made.key')} />
      <div className="toggle" role="group" aria-label={t('made.language')}>
        {snippets.map((snippet) => (
          <button
            key={snippet.name}
            type="button"
            aria-pressed={snippet.name === chosen.name}
            onClick={() => setName(snippet.name)}
          >
            {snippet.name}
          </button>
        ))}
      </div>
      <Code text={chosen.text} label={chosen.name} />
    </>
  )
}
