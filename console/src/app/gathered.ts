export interface Gathered {
  (): void
  cancel(): void
}

/** Calls `action` once for all calls that come within `ms` of the first. */
export function gathered(action: () => void, ms: number): Gathered {
  let timer: ReturnType<typeof setTimeout> | undefined
  const call = () => {
    timer ??= setTimeout(() => {
      timer = undefined
      action()
    }, ms)
  }
  return Object.assign(call, {
    cancel() {
      clearTimeout(timer)
      timer = undefined
    },
  })
}
