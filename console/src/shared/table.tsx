import { Table, type TableColumnsType } from 'antd'
import { useEffect, useRef, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { PAGE_SIZE } from './page-size'
import { ProblemNotice } from './problem-notice'
import { Waiting } from './waiting'

interface Props<Row> {
  /** What the list is of, for whoever hears the page. */
  label: string
  columns: TableColumnsType<Row>
  rows: readonly Row[] | undefined
  rowKey: (row: Row) => string
  loading: boolean
  error?: unknown
  retry?: () => void
  empty: ReactNode
  total?: number
  page?: number
  onPage?: (page: number) => void
  expanded?: (row: Row) => ReactNode
}

/** A list of the server's, a page of it at a time. */
export function List<Row extends object>(props: Props<Row>) {
  const { t } = useTranslation()
  const { rows, total = rows?.length ?? 0, page = 1 } = props
  if (props.error && !rows) {
    return <ProblemNotice error={props.error} {...(props.retry ? { retry: props.retry } : {})} />
  }
  if (!rows) return <Waiting label={t('loading')} />
  if (rows.length === 0 && page === 1) return <>{props.empty}</>
  const expanded = props.expanded
  return (
    <Scrolled label={props.label} busy={props.loading}>
      <Table<Row>
        columns={props.columns}
        dataSource={rows as Row[]}
        rowKey={props.rowKey}
        size="middle"
        scroll={{ x: 'max-content' }}
        {...(expanded ? {
              expandable: {
                expandedRowRender: (row: Row) => expanded(row),
                columnTitle: <span className="unseen">{t('details')}</span>,
              },
            } : {})}
        pagination={
          total > PAGE_SIZE
            ? {
                current: page,
                pageSize: PAGE_SIZE,
                total,
                showSizeChanger: false,
                responsive: true,
                showTotal: (all, [from, to]) => t('range', { from, to, all }),
                onChange: (next) => props.onPage?.(next),
              }
            : false
        }
      />
    </Scrolled>
  )
}

/** Where a list is wider than its place, it is reached and scrolled by the keyboard. */
function Scrolled({ label, busy, children }: { label: string; busy: boolean; children: ReactNode }) {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const content = place.current?.querySelector('.ant-table-content')
    if (content && content.scrollWidth > content.clientWidth) content.setAttribute('tabindex', '0')
    else content?.removeAttribute('tabindex')
  })
  return (
    <div ref={place} className="list" role="group" aria-label={label} aria-busy={busy}>
      {children}
    </div>
  )
}
