import type { Schemas } from '../api/contract'

export const CATEGORIES = [
  'advertising',
  'ai',
  'business',
  'cloud',
  'commerce',
  'communication',
  'content',
  'crm',
  'developer',
  'finance',
  'games',
  'health',
  'hr',
  'identity',
  'logistics',
  'maps',
  'media',
  'payments',
  'security',
  'travel',
] as const satisfies readonly Schemas['PresetCategory'][]
