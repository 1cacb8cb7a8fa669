import { describe, expect, test } from 'vitest'
import { duration, fromLocalInput, inWords, localTime, toLocalInput, utcTime } from './time'

describe('times', () => {
  test('are in the zone of the reader, and in UTC for comparing', () => {
    expect(localTime('2026-11-28T23:20:18.497Z', 'en', 'Asia/Shanghai')).toBe('Nov 29, 2026, 07:20:18')
    expect(localTime('2026-11-28T16:20:18.497Z', 'zh', 'Asia/Shanghai')).toBe('2026年11月29日 00:20:18')
    expect(utcTime('2026-11-28T23:20:18.497Z')).toBe('2026-11-28 23:20:18 UTC')
  })

  test('are said in the largest unit that fits', () => {
    expect(inWords(5 * 60_000 + 30_000, 'en')).toBe('in 5 minutes')
    expect(inWords(-2 * 3_600_000, 'en')).toBe('2 hours ago')
    expect(inWords(1_000, 'zh')).toBe('1秒钟后')
    expect(inWords(200, 'en')).toBe('in 0 seconds')
  })

  test('last as long as two units say', () => {
    expect(duration(7_080_000, 'en')).toBe('1 hr 58 min')
    expect(duration(86_400_000, 'en')).toBe('1 day')
    expect(duration(12, 'en')).toBe('12 ms')
    expect(duration(61_000, 'zh')).toBe('1分钟 1秒')
  })

  test('come back from a field as they went in', () => {
    expect(fromLocalInput('')).toBe(null)
    expect(fromLocalInput('nonsense')).toBe(null)
    const minute = Date.UTC(2026, 10, 28, 13, 20)
    expect(fromLocalInput(toLocalInput(minute))).toBe(minute)
  })
})
