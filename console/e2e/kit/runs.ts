// What every action is walked through with: each database, both languages, both themes, both widths.
import { DESKTOP, PHONE, type Look } from './browser.ts'
import { DATABASES, type Kind } from './database.ts'

export interface Run {
  kind: Kind
  look: Required<Look>
  /** For the names of tests. */
  name: string
}

const LOOKS: Record<Kind, Required<Look>[]> = {
  sqlite: [
    { language: 'en', theme: 'light', ...DESKTOP },
    { language: 'zh', theme: 'dark', ...PHONE },
  ],
  mysql: [
    { language: 'zh', theme: 'light', ...DESKTOP },
    { language: 'en', theme: 'dark', ...PHONE },
  ],
}

export const nameOf = (look: Look) => `${look.language}, ${look.theme}, ${look.width} wide`

/** `WALKS=short`: each walk once. */
const SHORT = process.env.WALKS === 'short'

const EACH: Run[] = DATABASES.flatMap((kind) => LOOKS[kind].map((look) => ({ kind, look, name: `${kind}, ${nameOf(look)}` })))

export const RUNS = SHORT ? EACH.slice(0, 1) : EACH

const LOOKS_THERE_ARE: Required<Look>[] = [DESKTOP, PHONE].flatMap((size) =>
  (['en', 'zh'] as const).flatMap((language) => (['light', 'dark'] as const).map((theme) => ({ language, theme, ...size }))),
)

/** All there are: for what is looked at rather than done. */
export const ALL_LOOKS = SHORT ? LOOKS_THERE_ARE.slice(0, 1) : LOOKS_THERE_ARE
