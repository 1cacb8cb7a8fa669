import { autocompletion, completionKeymap } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands'
import { json, jsonParseLinter } from '@codemirror/lang-json'
import { bracketMatching, indentOnInput } from '@codemirror/language'
import { linter, setDiagnostics, type Diagnostic } from '@codemirror/lint'
import { EditorState } from '@codemirror/state'
import { drawSelection, EditorView, keymap, lineNumbers } from '@codemirror/view'
import { useEffect, useRef } from 'react'
import { useTranslation } from 'react-i18next'
import type { Schemas } from '../api/contract'
import { colours } from './colours'
import { completion } from './completion'
import { rangeOf } from './pointer'
import type { Schema } from './schema'

interface Props {
  label: string
  value: string
  onChange: (value: string) => void
  /** What the server refused, shown where it is. */
  faults: readonly Schemas['Fault'][]
}

let schema: Schema | null = null

async function fetchSchema() {
  if (schema) return
  const response = await fetch('/realm.schema.json')
  if (response.ok) schema = (await response.json()) as Schema
}

/** An editor of a realm document, with completion by its schema. Escape, then Tab, leads out of it. */
export default function JsonEditor({ label, value, onChange, faults }: Props) {
  const { t } = useTranslation('realms')
  const place = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView>(null)
  const changed = useRef(onChange)
  changed.current = onChange
  useEffect(() => {
    // Without the schema nothing is offered; all else works.
    fetchSchema().catch(() => undefined)
    if (!place.current) return
    const editor = new EditorView({
      parent: place.current,
      doc: value,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        json(),
        linter(jsonParseLinter()),
        autocompletion({ override: [completion(() => schema)] }),
        colours,
        keymap.of([...defaultKeymap, ...historyKeymap, ...completionKeymap]),
        EditorState.tabSize.of(2),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false', tabindex: '0' }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) changed.current(update.state.doc.toString())
        }),
      ],
    })
    view.current = editor
    return () => {
      editor.destroy()
      view.current = null
    }
    // The editor holds the text from here on.
  }, [label])
  useEffect(() => {
    const editor = view.current
    if (editor && editor.state.doc.toString() !== value) {
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } })
    }
  }, [value])
  useEffect(() => {
    const editor = view.current
    if (!editor) return
    const diagnostics = faults.map(
      ({ pointer, detail }): Diagnostic => ({
        ...rangeOf(editor.state, pointer.replace(/^\/config(?=\/|$)/, '')),
        severity: 'error',
        message: detail,
      }),
    )
    editor.dispatch(setDiagnostics(editor.state, diagnostics))
  }, [faults])
  return (
    <>
      <div ref={place} className="editor" />
      <p className="hint">{t('editor.keys')}</p>
    </>
  )
}
