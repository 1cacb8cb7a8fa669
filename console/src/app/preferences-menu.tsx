import { useId } from 'react'
import { useTranslation } from 'react-i18next'
import { changeLanguage, language, LANGUAGES, LANGUAGE_NAMES } from './i18n'
import { chooseTheme, THEMES, useThemeChoice } from './preferences'

/** Language and theme. Native lists: they work everywhere and cost nothing. */
export function Preferences() {
  const { t } = useTranslation()
  const theme = useThemeChoice()
  const id = useId()
  return (
    <div className="preferences">
      <label htmlFor={`${id}-language`} className="unseen">
        {t('language')}
      </label>
      <select
        id={`${id}-language`}
        value={language()}
        onChange={(event) => {
          const chosen = LANGUAGES.find((name) => name === event.target.value)
          if (chosen) void changeLanguage(chosen)
        }}
      >
        {LANGUAGES.map((name) => (
          <option key={name} value={name}>
            {LANGUAGE_NAMES[name]}
          </option>
        ))}
      </select>
      <label htmlFor={`${id}-theme`} className="unseen">
        {t('theme')}
      </label>
      <select
        id={`${id}-theme`}
        value={theme}
        onChange={(event) => {
          const chosen = THEMES.find((name) => name === event.target.value)
          if (chosen) chooseTheme(chosen)
        }}
      >
        {THEMES.map((name) => (
          <option key={name} value={name}>
            {t(`themes.${name}`)}
          </option>
        ))}
      </select>
    </div>
  )
}
