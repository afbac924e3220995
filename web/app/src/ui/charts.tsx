import type { JSX } from 'preact';

/** Events per second as bars. */
export function Rate({ values, label }: { values: readonly number[]; label: string }): JSX.Element {
  const most = Math.max(4, ...values);
  const width = 240;
  const height = 44;
  const step = width / values.length;
  return (
    <svg class="rate" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <line x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} class="axis" />
      {values.map((v, i) => {
        const h = (v / most) * (height - 2);
        return <rect key={i} class="bar" x={i * step + 0.5} y={height - 1 - h} width={step - 1} height={Math.max(0, h)} />;
      })}
    </svg>
  );
}

/** A histogram with a label under each bar. */
export function Histogram({ counts, labels, label }: { counts: readonly number[]; labels: readonly string[]; label: string }): JSX.Element {
  const most = Math.max(1, ...counts);
  return (
    <div class="histogram" role="img" aria-label={label}>
      {counts.map((n, i) => (
        <div key={i} class="histogram-column" title={`${labels[i] ?? ''}: ${n}`}>
          <span class="histogram-bar" style={{ height: `${Math.max(n ? 3 : 1, (n / most) * 56)}px` }} data-none={n === 0 || undefined} />
          <span class="histogram-label">{labels[i]}</span>
        </div>
      ))}
    </div>
  );
}
