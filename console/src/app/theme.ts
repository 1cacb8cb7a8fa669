import { theme, type ThemeConfig } from 'antd'

const FONT =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif'
const CODE = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace'

/** Ant Design's own greys for hints are too light for WCAG AA; these have 4.5:1 on every ground of the page. */
const LIGHT = {
  colorPrimary: '#0f6b6b',
  colorInfo: '#0f6b6b',
  colorLink: '#0a5c5c',
  colorLinkHover: '#0f6b6b',
  colorError: '#b3261e',
  colorWarning: '#8a5a00',
  colorSuccess: '#1d6b34',
  colorBgLayout: '#f4f6f6',
  colorBorder: '#7b878a',
  colorTextSecondary: '#4a5357',
  colorTextTertiary: '#5a6468',
  colorTextQuaternary: '#5f696d',
  colorTextDescription: '#4a5357',
  colorTextPlaceholder: '#646d71',
}

const DARK = {
  colorPrimary: '#2a9a95',
  colorInfo: '#2a9a95',
  colorLink: '#6fd0ca',
  colorLinkHover: '#93e0db',
  colorError: '#ff8f87',
  colorWarning: '#f0b95a',
  colorSuccess: '#7fd196',
  colorBgLayout: '#101415',
  colorBgContainer: '#181d1e',
  colorBgElevated: '#1d2324',
  colorBorderSecondary: '#343c3e',
  colorBorder: '#84908f',
  colorTextSecondary: '#b6c0c2',
  colorTextTertiary: '#a3aeb0',
  colorTextQuaternary: '#9ba6a8',
  colorTextDescription: '#b6c0c2',
  colorTextPlaceholder: '#98a3a5',
}

export function themeOf(dark: boolean, still: boolean): ThemeConfig {
  return {
    algorithm: dark ? theme.darkAlgorithm : theme.defaultAlgorithm,
    token: { ...(dark ? DARK : LIGHT), fontFamily: FONT, fontFamilyCode: CODE, borderRadius: 6, motion: !still },
    components: {
      Button: { primaryShadow: 'none', ...(dark ? {
              primaryColor: '#061313',
              dangerColor: '#2b0705',
              colorPrimary: '#3aaaa4',
              colorPrimaryHover: '#52bcb6',
              colorPrimaryActive: '#3aaaa4',
            } : {}) },
      Table: { cellPaddingBlock: 10, ...(dark ? { headerBg: '#222829', rowHoverBg: '#222829', rowExpandedBg: '#1d2324', borderColor: '#343c3e' } : {}) },
    },
  }
}
