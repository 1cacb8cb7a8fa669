import { expect, test } from 'vitest'
import en from './en'
import zh from './zh'

const PLURAL = /_(zero|one|two|few|many|other)$/

function texts(of: object, path = ''): [string, string][] {
  return Object.entries(of).flatMap(([name, value]) => {
    const inner = path === '' ? name : `${path}.${name}`
    return typeof value === 'string' ? [[inner, value] as [string, string]] : texts(value as object, inner)
  })
}

const names = (of: object) => [...new Set(texts(of).map(([name]) => name.replace(PLURAL, '')))].sort()
const placeholders = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map(([, name]) => name).sort()

test('both languages have the same texts', () => {
  expect(names(zh)).toEqual(names(en))
})

test('each text has what it needs in its language', () => {
  for (const [name] of texts(en)) {
    if (name.endsWith('_one')) expect(texts(en).map(([other]) => other)).toContain(name.replace(/_one$/, '_other'))
  }
  for (const [name, text] of texts(zh)) {
    expect(name).not.toMatch(/_one$/)
    expect(text.trim(), name).not.toBe('')
  }
})

test('the same values stand in both languages', () => {
  const english = new Map(texts(en))
  for (const [name, text] of texts(zh)) {
    expect(placeholders(text), name).toEqual(placeholders(english.get(name) ?? ''))
  }
})

test('no text is left in the other language', () => {
  const chinese = /[\u4e00-\u9fff]/
  const same = new Set(['access.made.title'])
  for (const [name, text] of texts(zh)) if (!same.has(name)) expect(text, name).toMatch(chinese)
  for (const [name, text] of texts(en)) expect(text, name).not.toMatch(chinese)
})
