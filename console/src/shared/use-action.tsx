import { useMutation, useQueryClient } from '@tanstack/react-query'
import { App } from 'antd'
import { useTranslation } from 'react-i18next'
import { ProblemNotice } from './problem-notice'

/** Shows what went wrong where there is no place for it on the page. */
export function useProblemToast(): (error: unknown) => void {
  const { modal } = App.useApp()
  const { t } = useTranslation()
  return (error) => {
    modal.error({
      icon: null,
      title: t('notDone'),
      content: <ProblemNotice error={error} />,
      okText: t('close'),
    })
  }
}

interface Action<In, Out> {
  run: (input: In) => Promise<Out>
  /** What is said when it is done. */
  done?: string | ((out: Out, input: In) => string | null)
  /** Queries that show what it changed. */
  changes?: readonly string[]
  after?: (out: Out, input: In) => void
  /** Where the error is shown; absent: in a dialogue. */
  failed?: (error: unknown) => void
}

/** A change: run once, told when it is done, and shown anew wherever it is shown. */
export function useAction<In = void, Out = unknown>({ run, done, changes, after, failed }: Action<In, Out>) {
  const client = useQueryClient()
  const { message } = App.useApp()
  const toast = useProblemToast()
  return useMutation<Out, unknown, In>({
    mutationFn: run,
    onSuccess: (out, input) => {
      for (const key of changes ?? []) void client.invalidateQueries({ queryKey: [key] })
      const text = typeof done === 'function' ? done(out, input) : done
      if (text) void message.success(text)
      after?.(out, input)
    },
    onError: failed ?? toast,
  })
}
