import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router'
import { Frame } from './frame'
import { NotFound, Failed } from './not-found'

const text = (value: unknown): string | undefined =>
  typeof value === 'string' ? value || undefined : ['number', 'boolean'].includes(typeof value) ? String(value) : undefined
const number = (value: unknown): number | undefined => {
  const read = Number(value)
  return Number.isInteger(read) && read > 0 ? read : undefined
}

export interface ListSearch {
  page?: number | undefined
  text?: string | undefined
}
export interface SecretsSearch extends ListSearch {
  realm?: string | undefined
  state?: string | undefined
}
export interface RenewalsSearch extends ListSearch {
  realm?: string | undefined
  key?: string | undefined
  outcome?: string | undefined
}
export interface AuditSearch extends ListSearch {
  actor?: string | undefined
  action?: string | undefined
  target?: string | undefined
  since?: string | undefined
  until?: string | undefined
}

const list = (search: Record<string, unknown>): ListSearch => ({ page: number(search.page), text: text(search.text) })

const root = createRootRoute({ component: Frame, notFoundComponent: NotFound, errorComponent: Failed })

const overview = createRoute({
  getParentRoute: () => root,
  path: '/',
  component: lazyRouteComponent(() => import('../overview/page'), 'OverviewPage'),
})
const start = createRoute({
  getParentRoute: () => root,
  path: '/start',
  component: lazyRouteComponent(() => import('../start/page'), 'StartPage'),
})
const realms = createRoute({
  getParentRoute: () => root,
  path: '/realms',
  validateSearch: list,
  component: lazyRouteComponent(() => import('../realms/list'), 'RealmsPage'),
})
const newRealm = createRoute({
  getParentRoute: () => root,
  path: '/new-realm',
  component: lazyRouteComponent(() => import('../realms/create'), 'NewRealmPage'),
})
const presets = createRoute({
  getParentRoute: () => root,
  path: '/presets',
  validateSearch: (search: Record<string, unknown>): ListSearch & { category?: string | undefined } => ({
    ...list(search),
    category: text(search.category),
  }),
  component: lazyRouteComponent(() => import('../realms/presets'), 'PresetsPage'),
})
const preset = createRoute({
  getParentRoute: () => root,
  path: '/presets/$id',
  component: lazyRouteComponent(() => import('../realms/preset'), 'PresetPage'),
})
const realm = createRoute({
  getParentRoute: () => root,
  path: '/realms/$id',
  component: lazyRouteComponent(() => import('../realms/detail'), 'RealmPage'),
})
const secrets = createRoute({
  getParentRoute: () => root,
  path: '/secrets',
  validateSearch: (search: Record<string, unknown>): SecretsSearch => ({
    ...list(search),
    realm: text(search.realm),
    state: text(search.state),
  }),
  component: lazyRouteComponent(() => import('../secrets/list'), 'SecretsPage'),
})
const newSecret = createRoute({
  getParentRoute: () => root,
  path: '/new-secret',
  validateSearch: (search: Record<string, unknown>): { realm?: string | undefined } => ({ realm: text(search.realm) }),
  component: lazyRouteComponent(() => import('../secrets/create'), 'NewSecretPage'),
})
const secret = createRoute({
  getParentRoute: () => root,
  path: '/secrets/$realm/$key',
  component: lazyRouteComponent(() => import('../secrets/detail'), 'SecretPage'),
})
const renewals = createRoute({
  getParentRoute: () => root,
  path: '/renewals',
  validateSearch: (search: Record<string, unknown>): RenewalsSearch => ({
    ...list(search),
    realm: text(search.realm),
    key: text(search.key),
    outcome: text(search.outcome),
  }),
  component: lazyRouteComponent(() => import('../renewals/page'), 'RenewalsPage'),
})
const access = createRoute({
  getParentRoute: () => root,
  path: '/access',
  validateSearch: list,
  component: lazyRouteComponent(() => import('../access/page'), 'AccessPage'),
})
const issuers = createRoute({
  getParentRoute: () => root,
  path: '/issuers',
  validateSearch: list,
  component: lazyRouteComponent(() => import('../access/issuers'), 'IssuersPage'),
})
const audit = createRoute({
  getParentRoute: () => root,
  path: '/audit',
  validateSearch: (search: Record<string, unknown>): AuditSearch => ({
    ...list(search),
    actor: text(search.actor),
    action: text(search.action),
    target: text(search.target),
    since: text(search.since),
    until: text(search.until),
  }),
  component: lazyRouteComponent(() => import('../audit/page'), 'AuditPage'),
})
const settings = createRoute({
  getParentRoute: () => root,
  path: '/settings',
  component: lazyRouteComponent(() => import('../settings/page'), 'SettingsPage'),
})

export const router = createRouter({
  routeTree: root.addChildren([
    overview,
    start,
    realms,
    newRealm,
    presets,
    preset,
    realm,
    secrets,
    newSecret,
    secret,
    renewals,
    access,
    issuers,
    audit,
    settings,
  ]),
  basepath: '/console',
  defaultPreload: 'intent',
  scrollRestoration: true,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
