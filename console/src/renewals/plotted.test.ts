import { expect, test } from 'vitest'
import { classesOver, durationsOf } from './plotted'

const at = (s: number) => new Date(1_800_000_000_000 + s * 1000).toISOString()

test('durations are placed by time and length', () => {
  const plotted = durationsOf([
    { started_at: at(10), duration_ms: 400, outcome: 'failed' },
    { started_at: at(5), duration_ms: 100, outcome: 'stored' },
    { started_at: at(0), duration_ms: 200, outcome: 'stored' },
  ])
  expect(plotted.points).toEqual([
    { x: 1, y: 1, failed: true },
    { x: 0.5, y: 0.25, failed: false },
    { x: 0, y: 0.5, failed: false },
  ])
  expect(plotted).toMatchObject({ median: 200, p95: 400, highest: 400 })
})

test('attempts at one time stand in the middle', () => {
  expect(durationsOf([{ started_at: at(0), duration_ms: 0, outcome: 'stored' }]).points).toEqual([
    { x: 0.5, y: 0, failed: false },
  ])
})

test('failures are counted by class and by time', () => {
  const { classes, slots } = classesOver(
    [
      { started_at: at(0), class: 'transient' },
      { started_at: at(4), class: null },
      { started_at: at(9), class: 'permanent' },
      { started_at: at(10), class: 'permanent' },
    ],
    2,
  )
  expect(classes).toEqual(['permanent', 'transient'])
  expect(slots.map((slot) => slot.counts)).toEqual([
    [0, 1],
    [2, 0],
  ])
})
