import type { CompletionContext, CompletionResult } from '@codemirror/autocomplete'
import { syntaxTree } from '@codemirror/language'
import { pathAt } from './pointer'
import { choicesAt, propertiesAt, type Schema } from './schema'

/** Offers the names and the values that the schema allows at the cursor. */
export function completion(schema: () => Schema | null) {
  return (context: CompletionContext): CompletionResult | null => {
    const root = schema()
    if (!root) return null
    const word = context.matchBefore(/"?[\w.-]*/)
    const from = word?.from ?? context.pos
    if (!context.explicit && (!word || word.from === word.to)) return null
    const path = pathAt(context.state, from)
    if (isValue(context, from)) {
      return { from, options: choicesAt(root, path).map((label) => ({ label, type: 'enum' })) }
    }
    const inName = syntaxTree(context.state).resolveInner(context.pos, -1).name === 'PropertyName'
    const parents = inName && path.length > 0 && isOwnName(context, path) ? path.slice(0, -1) : path
    const options = propertiesAt(root, parents).map(({ name, description }) => ({
      label: `"${name}"`,
      info: description,
      apply: inName ? `"${name}"` : `"${name}": `,
      type: 'property',
    }))
    return { from, options }
  }
}

/** Whether the place is behind a colon. */
function isValue(context: CompletionContext, from: number): boolean {
  return /:\s*$/.test(context.state.sliceDoc(Math.max(0, from - 50), from))
}

/** Whether the last name of a path is the one that is being written. */
function isOwnName(context: CompletionContext, path: string[]): boolean {
  const node = syntaxTree(context.state).resolveInner(context.pos, -1)
  return context.state.sliceDoc(node.from, node.to) === JSON.stringify(path.at(-1))
}
