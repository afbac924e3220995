import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

interface ListProps<T> {
  id: string; // of the element, the beginning of those of its rows
  label: string;
  count: number;
  at: (index: number) => T;
  keyOf: (item: T) => string | number;
  rowHeight: number; // px, the same of all rows
  render: (item: T) => ComponentChildren;
  version?: unknown; // rows are drawn again when it changes
  rowClass?: (item: T) => string;
  open?: (item: T) => void; // by click or Enter
  openKey?: string | number | null;
  onTop?: (atTop: boolean) => void;
  onHold?: (held: boolean) => void; // somebody points at it, or has the focus in it
  scroller?: (toTop: () => void) => void;
}

const overscan = 6;

/** The row that the keyboard is at. */
interface Active {
  index: number;
  key: string | number;
}

/**
 * A list of which only the rows on display are in the document. It is one tab stop: the arrow keys, Page Up and Down,
 * Home and End move in it, and Enter opens.
 */
export function VirtualList<T>(p: ListProps<T>): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [active, setActive] = useState<Active | null>(null);
  const latest = useRef<Active | null>(null); // keys may come faster than frames: what is drawn is not what counts
  const hold = useRef({ pointer: false, focus: false, from: 0 }); // from: the pointer holds nothing before that time

  useLayoutEffect(() => {
    const node = box.current;
    if (!node) return undefined;
    setHeight(node.clientHeight);
    const watch = new ResizeObserver(() => setHeight(node.clientHeight));
    watch.observe(node);
    p.scroller?.(() => {
      node.scrollTop = 0;
      hold.current = { pointer: false, focus: false, from: Date.now() + 1500 };
    });
    return () => watch.disconnect();
  }, []);

  const tell = (change: Partial<{ pointer: boolean; focus: boolean }>): void => {
    Object.assign(hold.current, change);
    p.onHold?.(hold.current.pointer || hold.current.focus);
  };

  const activate = (next: Active): void => {
    latest.current = next;
    setActive(next);
  };
  /** Rows come and go above the active one: it is found again by its key. */
  const find = (a: Active | null): number => {
    if (!a) return -1;
    if (a.index < p.count && p.keyOf(p.at(a.index)) === a.key) return a.index;
    for (let i = 0; i < p.count; i++) if (p.keyOf(p.at(i)) === a.key) return i;
    return -1;
  };
  const activeIndex = find(active);

  const move = (to: number): void => {
    const node = box.current;
    if (!node || p.count === 0) return;
    const index = Math.max(0, Math.min(p.count - 1, to));
    activate({ index, key: p.keyOf(p.at(index)) });
    const y = index * p.rowHeight;
    if (y < node.scrollTop) node.scrollTop = y;
    else if (y + p.rowHeight > node.scrollTop + node.clientHeight) node.scrollTop = y + p.rowHeight - node.clientHeight;
    if (p.openKey !== null && p.openKey !== undefined) p.open?.(p.at(index)); // what is open follows
  };

  const onKeyDown = (e: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(height / p.rowHeight) - 1);
    const from = find(latest.current);
    const steps: Record<string, number> = {
      ArrowDown: from + 1, ArrowUp: Math.max(0, from - 1), PageDown: from + page, PageUp: from - page, Home: 0, End: p.count - 1,
    };
    const to = steps[e.key];
    if (to !== undefined && !e.altKey && !e.ctrlKey && !e.metaKey) {
      e.preventDefault();
      move(to);
    } else if ((e.key === 'Enter' || e.key === ' ') && from >= 0 && p.open) {
      e.preventDefault();
      p.open(p.at(from));
    }
  };

  const first = Math.max(0, Math.floor(top / p.rowHeight) - overscan);
  const last = Math.min(p.count, Math.ceil((top + height) / p.rowHeight) + overscan);
  const rows: JSX.Element[] = [];
  for (let i = first; i < last; i++) {
    const item = p.at(i);
    const key = p.keyOf(item);
    rows.push(
      <Row key={key} id={`${p.id}-${key}`} item={item} index={i} count={p.count} y={i * p.rowHeight} height={p.rowHeight}
        active={i === activeIndex} open={p.openKey === key} render={p.render} rowClass={p.rowClass?.(item)} version={p.version}
        onClick={() => {
          activate({ index: i, key });
          p.open?.(item);
        }} />,
    );
  }

  // The document's height follows the list's without a jump of the rows on display.
  return (
    <div ref={box} id={p.id} class="list" role="listbox" tabIndex={0} aria-label={p.label}
      aria-activedescendant={activeIndex >= first && activeIndex < last && active ? `${p.id}-${active.key}` : undefined}
      onScroll={(e) => {
        setTop(e.currentTarget.scrollTop);
        p.onTop?.(e.currentTarget.scrollTop < 4);
      }}
      onKeyDown={onKeyDown}
      onFocus={() => {
        // Focus by the keyboard holds the list; a click has opened something, which does.
        if (box.current?.matches(':focus-visible')) tell({ focus: true });
      }}
      onBlur={() => tell({ focus: false })}
      onPointerMove={(e) => {
        const { pointer, from } = hold.current;
        if (!pointer && e.pointerType === 'mouse' && Date.now() >= from) tell({ pointer: true });
      }}
      onPointerLeave={() => tell({ pointer: false })}>
      <div class="list-space" role="presentation" style={{ height: `${p.count * p.rowHeight}px` }}>{rows}</div>
    </div>
  );
}

interface RowProps<T> {
  id: string;
  item: T;
  index: number;
  count: number;
  y: number;
  height: number;
  active: boolean;
  open: boolean;
  render: (item: T) => ComponentChildren;
  rowClass?: string | undefined;
  version: unknown;
  onClick: () => void;
}

function Row<T>(p: RowProps<T>): JSX.Element {
  const body = useMemo(() => p.render(p.item), [p.item, p.version]);
  return (
    <div id={p.id} class={`row ${p.rowClass ?? ''}`} role="option" aria-selected={p.open} data-active={p.active || undefined}
      aria-setsize={p.count} aria-posinset={p.index + 1} onClick={p.onClick}
      style={{ height: `${p.height}px`, transform: `translateY(${p.y}px)` }}>
      {body}
    </div>
  );
}

/** Whether the window is at most so wide. */
export function useNarrow(width: number): boolean {
  const query = useMemo(() => matchMedia(`(max-width: ${width}px)`), [width]);
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const change = (): void => setNarrow(query.matches);
    query.addEventListener('change', change);
    return () => query.removeEventListener('change', change);
  }, [query]);
  return narrow;
}
