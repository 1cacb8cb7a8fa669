// The texts of the console in the language of a walk, named by what they are in English.
import en from '../../src/locales/en/index.ts'
import zh from '../../src/locales/zh/index.ts'

export type Language = 'en' | 'zh'
/** `whole`: nothing stands beside the text. */
export type Say = (english: string, whole?: 'whole') => string | RegExp

function flat(bundle: object, path = ''): [string, string][] {
  return Object.entries(bundle).flatMap(([name, value]: [string, unknown]) => {
    const inner = path === '' ? name : `${path}.${name}`
    return typeof value === 'string' ? [[inner, value] as [string, string]] : flat(value as object, inner)
  })
}

const ENGLISH = flat(en)
const CHINESE = new Map(flat(zh))
const HOLE = /\{\{(\w+)\}\}/

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replace(/\\\{\\\{\w+\\\}\\\}/g, '.+')

/** What fills the place holders of a text, or null: this is not that text. */
function filled(template: string, text: string): Map<string, string> | null {
  const names: string[] = []
  const parts = template.split(HOLE).map((part, at) => {
    if (at % 2 === 0) return escaped(part)
    names.push(part)
    return '(.+)'
  })
  const found = new RegExp(`^${parts.join('')}$`).exec(text)
  const says = template.split(HOLE).filter((_, at) => at % 2 === 0)
  return found && /\p{L}/u.test(says.join('')) ? new Map(names.map((name, at) => [name, found[at + 1] ?? ''])) : null
}

/** What is English and stays so, such as titles of a realm's parameters, is said as it is. */
function inChinese(text: string): string[] {
  const said = ENGLISH.flatMap(([name, template]) => {
    const values = filled(template, text)
    const chinese = CHINESE.get(name) ?? CHINESE.get(name.replace(/_(one|other)$/, '_other'))
    if (!values || chinese === undefined) return []
    return [chinese.split(HOLE).map((part, at) => (at % 2 === 0 ? part : (values.get(part) ?? ''))).join('')]
  })
  return said.length === 0 ? [text] : [...new Set(said)]
}

/** What finds a text in this language. It is given as it is shown, with its numbers and names; `{{name}}` is any. */
export function words(language: Language): Say {
  return (english, whole) => {
    // A field that is needed has a star beside its label.
    const star = english.endsWith(' *') ? ' \\*' : ''
    const text = star ? english.slice(0, -2) : english
    if (language === 'en' && !whole && !HOLE.test(english)) return english
    const found = (language === 'en' ? [text] : inChinese(text)).map(escaped).join('|')
    return new RegExp(whole ? `^(${found})${star}$` : `(${found})${star}`)
  }
}
