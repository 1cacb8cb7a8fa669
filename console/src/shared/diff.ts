export interface Line {
  kind: 'same' | 'gone' | 'new'
  text: string
}

/** Lines that are compared at most with each other; texts with more are shown as wholly new. */
const MOST = 2_000

/** What differs between two texts, by their longest common subsequence of lines. */
export function diff(before: string, after: string): Line[] {
  const old = before === '' ? [] : before.split('\n')
  const next = after === '' ? [] : after.split('\n')
  let head = 0
  while (head < old.length && head < next.length && old[head] === next[head]) head += 1
  let tail = 0
  while (tail < old.length - head && tail < next.length - head && old.at(-1 - tail) === next.at(-1 - tail)) tail += 1
  const same = (texts: string[]): Line[] => texts.map((text) => ({ kind: 'same', text }))
  return [
    ...same(old.slice(0, head)),
    ...middle(old.slice(head, old.length - tail), next.slice(head, next.length - tail)),
    ...same(tail === 0 ? [] : old.slice(-tail)),
  ]
}

function middle(old: string[], next: string[]): Line[] {
  const gone = (text: string): Line => ({ kind: 'gone', text })
  const fresh = (text: string): Line => ({ kind: 'new', text })
  if (old.length > MOST || next.length > MOST) return [...old.map(gone), ...next.map(fresh)]
  // common[i][j]: how many lines old[i..] and next[j..] have in common.
  const common = Array.from({ length: old.length + 1 }, () => new Uint16Array(next.length + 1))
  const at = (i: number, j: number) => common[i]?.[j] ?? 0
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = next.length - 1; j >= 0; j -= 1) {
      const row = common[i]
      if (row) row[j] = old[i] === next[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  }
  const lines: Line[] = []
  let i = 0
  let j = 0
  while (i < old.length || j < next.length) {
    const left = old[i]
    const right = next[j]
    if (left !== undefined && left === right) {
      lines.push({ kind: 'same', text: left })
      i += 1
      j += 1
    } else if (left !== undefined && (right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push(gone(left))
      i += 1
    } else if (right !== undefined) {
      lines.push(fresh(right))
      j += 1
    }
  }
  return lines
}

/** Leaves out equal lines that are far from any change; null stands for those that are left out. */
export function folded(lines: readonly Line[], around: number): (Line | null)[] {
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - around), at + around + 1).some((line) => line.kind !== 'same'))
  const shown: (Line | null)[] = []
  lines.forEach((line, at) => {
    if (near[at]) shown.push(line)
    else if (shown.at(-1) !== null) shown.push(null)
  })
  return shown
}
