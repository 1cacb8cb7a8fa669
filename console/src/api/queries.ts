// Everything the pages ask for, by the key under which it is kept.
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { PAGE_SIZE } from '../shared/page-size'
import { api, call, dataOf } from './client'
import type { Overview, Schemas, SecretState, Settings } from './contract'

export const overviewQuery = queryOptions({
  queryKey: ['overview'],
  queryFn: async () => (await call<{ data: Overview }>('GET', '/api/overview')).data,
})

export const settingsQuery = queryOptions({
  queryKey: ['settings'],
  queryFn: async () => (await call<{ data: Settings }>('GET', '/api/settings')).data,
})

const paged = (page: number | undefined, pageSize = PAGE_SIZE) => ({ page: page ?? 1, pageSize })
/** Leaves out what is not set: the server refuses empty parameters. */
function given<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== ''),
  ) as { [K in keyof T]?: NonNullable<T[K]> }
}

export interface RealmFilter {
  page?: number | undefined
  text?: string | undefined
  pageSize?: number
}

export const realmsQuery = ({ page, text, pageSize }: RealmFilter) =>
  queryOptions({
    queryKey: ['realms', page, text, pageSize],
    queryFn: () =>
      dataOf(api.GET('/api/realm', { params: { query: { ...paged(page, pageSize), ...given({ keyword: text }) } } })),
    placeholderData: keepPreviousData,
  })

export const realmQuery = (id: string) =>
  queryOptions({
    queryKey: ['realm', id],
    queryFn: () => dataOf(api.GET('/api/realm/{id}', { params: { path: { id } } })),
  })

export interface PresetFilter {
  page?: number | undefined
  text?: string | undefined
  category?: Schemas['PresetCategory'] | undefined
}

export const presetsQuery = ({ page, text, category }: PresetFilter) =>
  queryOptions({
    queryKey: ['presets', page, text, category],
    queryFn: () =>
      dataOf(api.GET('/api/preset', { params: { query: { ...paged(page), ...given({ keyword: text, category }) } } })),
    placeholderData: keepPreviousData,
    staleTime: Infinity,
  })

export const presetQuery = (id: string) =>
  queryOptions({
    queryKey: ['preset', id],
    queryFn: () => dataOf(api.GET('/api/preset/{id}', { params: { path: { id } } })),
    staleTime: Infinity,
  })

export interface SecretFilter {
  page?: number | undefined
  realm?: string | undefined
  state?: SecretState | undefined
  text?: string | undefined
  pageSize?: number
}

export const secretsQuery = ({ page, realm, state, text, pageSize }: SecretFilter) =>
  queryOptions({
    queryKey: ['secrets', page, realm, state, text, pageSize],
    queryFn: () =>
      dataOf(
        api.GET('/api/secret', {
          params: { query: { ...paged(page, pageSize), ...given({ realm, state, keyword: text }) } },
        }),
      ),
    placeholderData: keepPreviousData,
  })

export const secretQuery = (realm: string, key: string) =>
  queryOptions({
    queryKey: ['secret', realm, key],
    queryFn: () => dataOf(api.GET('/api/secret/{realm}/{key}', { params: { path: { realm, key } } })),
  })

export interface RenewalFilter {
  page?: number | undefined
  realm?: string | undefined
  key?: string | undefined
  outcome?: Schemas['RenewalOutcome'] | undefined
  pageSize?: number
}

export const renewalsQuery = ({ page, realm, key, outcome, pageSize }: RenewalFilter) =>
  queryOptions({
    queryKey: ['renewals', page, realm, key, outcome, pageSize],
    queryFn: () =>
      dataOf(
        api.GET('/api/renewal', {
          params: { query: { ...paged(page, pageSize), ...given({ realm, key, outcome }) } },
        }),
      ),
    placeholderData: keepPreviousData,
  })

export const apiKeysQuery = (page?: number) =>
  queryOptions({
    queryKey: ['api-keys', page],
    queryFn: () => dataOf(api.GET('/api/api-key', { params: { query: paged(page) } })),
    placeholderData: keepPreviousData,
  })

export const issuersQuery = (page?: number) =>
  queryOptions({
    queryKey: ['issuers', page],
    queryFn: () => dataOf(api.GET('/api/issuer', { params: { query: paged(page) } })),
    placeholderData: keepPreviousData,
  })

export interface AuditFilter {
  page?: number | undefined
  actor?: string | undefined
  action?: string | undefined
  target?: string | undefined
  since?: number | undefined
  until?: number | undefined
}

export const auditPage = (filter: AuditFilter, pageSize = PAGE_SIZE) => {
  const { page, ...rest } = filter
  return dataOf(api.GET('/api/audit', { params: { query: { ...paged(page, pageSize), ...given(rest) } } }))
}

export const auditQuery = (filter: AuditFilter) =>
  queryOptions({
    queryKey: ['audit', filter],
    queryFn: () => auditPage(filter),
    placeholderData: keepPreviousData,
  })
