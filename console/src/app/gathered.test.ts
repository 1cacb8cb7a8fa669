import { expect, test, vi } from 'vitest'
import { gathered } from './gathered'

test('many events in a short time make one refresh, and later ones another', () => {
  vi.useFakeTimers()
  const action = vi.fn()
  const call = gathered(action, 400)
  call()
  vi.advanceTimersByTime(300)
  call()
  call()
  expect(action).not.toHaveBeenCalled()
  vi.advanceTimersByTime(100)
  expect(action).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(1000)
  expect(action).toHaveBeenCalledTimes(1)
  call()
  call.cancel()
  vi.advanceTimersByTime(1000)
  expect(action).toHaveBeenCalledTimes(1)
  vi.useRealTimers()
})
