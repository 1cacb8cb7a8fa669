// Where a JSON pointer (RFC 6901) leads in a text, and which one leads to a place.
import { ensureSyntaxTree, syntaxTree } from '@codemirror/language'
import type { EditorState } from '@codemirror/state'
import type { SyntaxNode } from '@lezer/common'

const VALUES = new Set(['Object', 'Array', 'String', 'Number', 'True', 'False', 'Null'])

/** A document has at most some hundred lines; where the machine is busy, what the editor has read by itself may be less. */
const READ_MS = 1_000

const treeOf = (state: EditorState) => ensureSyntaxTree(state, state.doc.length, READ_MS) ?? syntaxTree(state)

function keyOf(state: EditorState, property: SyntaxNode): string | null {
  const name = property.getChild('PropertyName')
  if (!name) return null
  try {
    return String(JSON.parse(state.sliceDoc(name.from, name.to)))
  } catch {
    return null
  }
}

function values(node: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = []
  for (let child = node.firstChild; child; child = child.nextSibling) if (VALUES.has(child.name)) found.push(child)
  return found
}

function step(state: EditorState, node: SyntaxNode, name: string): SyntaxNode | null {
  if (node.name === 'Array') return values(node)[Number(name)] ?? null
  if (node.name !== 'Object') return null
  const property = node.getChildren('Property').find((one) => keyOf(state, one) === name)
  return property ? (values(property)[0] ?? property) : null
}

const unescape = (part: string) => part.replaceAll('~1', '/').replaceAll('~0', '~')

/** The range of what a pointer names; where that is not there, of the last thing on the way that is. */
export function rangeOf(state: EditorState, pointer: string): { from: number; to: number } {
  let node = treeOf(state).topNode.firstChild
  if (!node) return { from: 0, to: 0 }
  for (const part of pointer.split('/').slice(1)) {
    const next = step(state, node, unescape(part))
    if (!next) break
    node = next
  }
  const property = node.parent?.name === 'Property' ? node.parent : node
  const big = node.name === 'Object' || node.name === 'Array'
  return big ? { from: property.from, to: Math.min(node.from + 1, node.to) } : { from: node.from, to: node.to }
}

/** The names on the way to a place, from the outermost. */
export function pathAt(state: EditorState, position: number): string[] {
  const path: string[] = []
  for (let node: SyntaxNode | null = treeOf(state).resolveInner(position, -1); node; node = node.parent) {
    if (node.name === 'Property') {
      const key = keyOf(state, node)
      if (key !== null) path.unshift(key)
    } else if (node.parent?.name === 'Array' && VALUES.has(node.name)) {
      const at = values(node.parent).findIndex((one) => one.from === node?.from)
      path.unshift(String(Math.max(0, at)))
    }
  }
  return path
}
