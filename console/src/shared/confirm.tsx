import { Button, Modal } from 'antd'
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { Field } from './field'
import { ProblemNotice } from './problem-notice'

interface Props {
  open: boolean
  title: string
  children?: ReactNode
  confirm: string
  danger?: boolean
  /** A name that must be typed first, where much would be lost. */
  typed?: string
  /** Whether what it asks about is known; absent: it is. */
  ready?: boolean
  busy?: boolean
  error?: unknown
  onConfirm: () => void
  onClose: () => void
}

/** Asks before something that cannot be undone. */
export function Confirm(props: Props) {
  const { t } = useTranslation()
  const [text, setText] = useState('')
  const ready = (props.ready ?? true) && (props.typed === undefined || text === props.typed)
  function close() {
    setText('')
    props.onClose()
  }
  return (
    <Modal
      open={props.open}
      title={props.title}
      onCancel={close}
      destroyOnHidden
      footer={[
        <Button key="cancel" onClick={close}>
          {t('cancel')}
        </Button>,
        <Button
          key="confirm"
          type="primary"
          danger={props.danger ?? false}
          disabled={!ready}
          loading={props.busy ?? false}
          onClick={props.onConfirm}
        >
          {props.confirm}
        </Button>,
      ]}
    >
      {props.children}
      {props.typed === undefined ? null : (
        <Field label={t('typeName', { name: props.typed })}>
          {(control) => (
            <input
              {...control}
              className="field"
              autoComplete="off"
              spellCheck={false}
              value={text}
              onChange={(event) => setText(event.target.value)}
            />
          )}
        </Field>
      )}
      {props.error ? <ProblemNotice error={props.error} /> : null}
    </Modal>
  )
}
