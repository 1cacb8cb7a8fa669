import type { Point } from './plotted'

interface Props {
  label: string
  points: readonly Point[]
  top: string
  from: string
  to: string
}

const WIDTH = 400
const HEIGHT = 96

/** Dots over time; what they say is in the label, for whoever does not see them. */
export function Scatter({ label, points, top, from, to }: Props) {
  return (
    <figure className="bars">
      <div className="bars-plot">
        <span className="axis-top">{top}</span>
        <svg viewBox={`-4 -4 ${WIDTH + 8} ${HEIGHT + 8}`} role="img" aria-label={label}>
          {points.map((point, at) => (
            <circle
              key={at}
              className={point.failed ? 'bad' : 'good'}
              cx={point.x * WIDTH}
              cy={(1 - point.y) * HEIGHT}
              r={point.failed ? 3 : 2}
            />
          ))}
        </svg>
      </div>
      <div className="axis" aria-hidden="true">
        <span>{from}</span>
        <span>{to}</span>
      </div>
    </figure>
  )
}
