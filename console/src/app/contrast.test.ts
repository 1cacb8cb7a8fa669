import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

// WCAG 2.2, 1.4.3 and 1.4.11: text has 4.5:1 on its ground; edges of fields and what is drawn have 3:1.
const css = readFileSync(new URL('./style.css', import.meta.url), 'utf8')

function variables(selector: string): Map<string, string> {
  const block = css.slice(css.indexOf(`${selector} {`)).split('}')[0] ?? ''
  return new Map([...block.matchAll(/(--[\w-]+): (#[0-9a-f]{6})/g)].map(([, name = '', value = '']) => [name, value]))
}

function luminance(colour: string): number {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
  const [red = 0, green = 0, blue = 0] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (high + 0.05) / (low + 0.05)
}

const GROUNDS = ['--page', '--ground', '--raised']
const TEXTS = ['--text', '--muted', '--link']
const PAIRS: [string, string, number][] = [
  ...GROUNDS.flatMap((ground) => TEXTS.map((text): [string, string, number] => [text, ground, 4.5])),
  ...GROUNDS.map((ground): [string, string, number] => ['--edge', ground, 3]),
  ...['good', 'warn', 'bad'].flatMap((tone): [string, string, number][] => [
    [`--${tone}`, `--${tone}-ground`, 4.5],
    [`--${tone}`, '--ground', 4.5],
  ]),
  ...['good', 'warn', 'bad', 'calm'].map((tone): [string, string, number] => ['--text', `--${tone}-ground`, 4.5]),
  ['--muted', '--bad-ground', 4.5],
  ['--link', '--bad-ground', 4.5],
  ['--on-accent', '--accent', 4.5],
  ['--text', '--selected', 4.5],
  ['--good', '--raised', 3],
  ['--fourth', '--ground', 3],
  ['--fifth', '--ground', 3],
]

test.each([':root', ":root[data-theme='dark']"])('what is read in %s stands out from its ground', (selector) => {
  const colours = variables(selector)
  expect(colours.size).toBeGreaterThanOrEqual(20)
  for (const [text, ground, least] of PAIRS) {
    const [one, other] = [colours.get(text), colours.get(ground)]
    expect(one && other, `${text} on ${ground}`).toBeTruthy()
    expect(contrast(one ?? '', other ?? ''), `${text} on ${ground}`).toBeGreaterThanOrEqual(least)
  }
})
