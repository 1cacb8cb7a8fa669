import { Link } from '@tanstack/react-router'
import type { TableColumnsType } from 'antd'
import type { ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import type { Renewal } from '../api/contract'
import { Moment } from '../shared/moment'
import { Badge, ClassOfFailure } from '../shared/state'
import { List } from '../shared/table'
import { duration } from '../shared/time'

interface Props {
  label: string
  rows: readonly Renewal[] | undefined
  loading: boolean
  error?: unknown
  retry?: () => void
  empty: ReactNode
  total?: number
  page?: number
  onPage?: (page: number) => void
  /** Of one secret: its name is not repeated. */
  withoutSecret?: boolean
}

const TONES = { stored: 'good', failed: 'bad', discarded: 'calm' } as const

export function RenewalTable({ withoutSecret, ...list }: Props) {
  const { t, i18n } = useTranslation('renewals')
  const secret: TableColumnsType<Renewal>[number] = {
    title: t('columns.secret'),
    key: 'secret',
    render: (_, one) => (
      <Link to="/secrets/$realm/$key" params={{ realm: one.realm, key: one.key }} className="name">
        {one.realm} / {one.key}
      </Link>
    ),
  }
  const replica: TableColumnsType<Renewal>[number] = {
    title: t('columns.replica'),
    key: 'replica',
    responsive: ['xxl'],
    render: (_, one) => (
      <span className="short" title={one.replica}>
        {one.replica}
      </span>
    ),
  }
  const columns: TableColumnsType<Renewal> = [
    { title: t('columns.at'), key: 'at', render: (_, one) => <Moment at={one.started_at} /> },
    ...(withoutSecret ? [] : [secret]),
    {
      title: t('outcome'),
      key: 'outcome',
      render: (_, one) => (
        <>
          <Badge tone={TONES[one.outcome]}>{t(`outcomes.${one.outcome}`)}</Badge>
          {one.class ? (
            <span className="hint">
              {' '}
              <ClassOfFailure of={one.class} />
            </span>
          ) : null}
          {one.detail ? (
            <div className="cell-text hint" lang="en" title={one.detail}>
              {one.detail}
            </div>
          ) : null}
        </>
      ),
    },
    { title: t('columns.cause'), key: 'cause', responsive: ['md'], render: (_, one) => t(`causes.${one.cause}`) },
    {
      title: t('columns.duration'),
      key: 'duration',
      align: 'right',
      responsive: ['md'],
      render: (_, one) => duration(one.duration_ms, i18n.language),
    },
    { title: t('columns.generation'), key: 'generation', responsive: ['lg'], align: 'right', dataIndex: 'generation' },
    ...(withoutSecret ? [] : [replica]),
  ]
  return <List {...list} columns={columns} rowKey={(one) => String(one.id)} />
}
