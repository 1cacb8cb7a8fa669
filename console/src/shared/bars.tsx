import { useTranslation } from 'react-i18next'

interface Props {
  /** What is to be seen, in a sentence. */
  label: string
  series: readonly { name: string; tone: string }[]
  bars: readonly { name: string; values: readonly number[] }[]
}

const HEIGHT = 96
const WIDTH = 16

/** Stacked bars; the same as a table for whoever does not see them. */
export function Bars({ label, series, bars }: Props) {
  const { i18n } = useTranslation()
  const number = new Intl.NumberFormat(i18n.language)
  const highest = Math.max(1, ...bars.map((bar) => bar.values.reduce((sum, value) => sum + value, 0)))
  const scale = (value: number) => (value === 0 ? 0 : Math.max(2, (value / highest) * HEIGHT))
  const middle = Math.floor(bars.length / 2)
  return (
    <figure className="bars">
      <div className="bars-plot">
        <span className="axis-top">{number.format(highest)}</span>
        <svg
          viewBox={`0 0 ${Math.max(1, bars.length) * WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={label}
        >
          {bars.map((bar, at) => {
            let y = HEIGHT
            return bar.values.map((value, which) => {
              const height = scale(value)
              y -= height
              return (
                <rect
                  key={`${at} ${which}`}
                  className={series[which]?.tone}
                  x={at * WIDTH + 2}
                  width={WIDTH - 4}
                  y={y}
                  height={height}
                >
                  <title>{`${bar.name}: ${number.format(value)} ${series[which]?.name ?? ''}`}</title>
                </rect>
              )
            })
          })}
        </svg>
      </div>
      <div className="axis" aria-hidden="true">
        <span>{bars[0]?.name}</span>
        <span>{bars[middle]?.name}</span>
        <span>{bars[bars.length - 1]?.name}</span>
      </div>
      <figcaption className="legend">
        {series.map((one) => (
          <span key={one.name}>
            <span className={`swatch ${one.tone}`} aria-hidden="true" />
            {one.name}
          </span>
        ))}
      </figcaption>
      <div className="unseen">
        <table>
        <caption>{label}</caption>
        <tbody>
          {bars.map((bar, at) => (
            <tr key={at}>
              <th scope="row">{bar.name}</th>
              {bar.values.map((value, which) => (
                <td key={which}>{`${value} ${series[which]?.name ?? ''}`}</td>
              ))}
            </tr>
          ))}
        </tbody>
        </table>
      </div>
    </figure>
  )
}
