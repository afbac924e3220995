import type { ComponentChildren, JSX } from 'preact';
import type { Part } from '../describe';
import type { Names } from '../feed';
import { Icon, type IconName } from './icon';

/** A number from an id, the same each time: for colours. */
function hash(text: string): number {
  let h = 7;
  for (let i = 0; i < text.length; i++) h = (h * 31 + text.charCodeAt(i)) >>> 0;
  return h;
}

/** Somebody's picture: the first letter on one of eight colours. */
export function Avatar({ id, name, size = 28 }: { id: string; name: string; size?: number }): JSX.Element {
  const letter = [...name.replace(/^[#@:]/, '')][0] ?? '?';
  return (
    <span class="avatar" data-hue={hash(id) % 8} aria-hidden="true"
      style={{ width: `${size}px`, height: `${size}px`, fontSize: `${Math.round(size * 0.44)}px` }}>
      {letter.toUpperCase()}
    </span>
  );
}

/** A sentence about an event. */
export function Sentence({ parts, names }: { parts: readonly Part[]; names: Names }): JSX.Element {
  return (
    <>
      {parts.map((part, i) => {
        if (typeof part === 'string') return part;
        if ('quote' in part) return <q key={i}>{part.quote}</q>;
        if ('code' in part) return <b key={i}>{part.code}</b>;
        if ('person' in part) return <b key={i}>{names.person(part.person)}</b>;
        if ('account' in part) return <b key={i}>{names.account(part.account)}</b>;
        if ('channel' in part) return <span key={i} class="place">{names.channel(part.channel)}</span>;
        if ('emoji' in part) return <b key={i}>{names.emoji(part.emoji)}</b>;
        return <b key={i}>{names.role(part.role)}</b>;
      })}
    </>
  );
}

export function Tag({ children, tone, title }: { children: ComponentChildren; tone?: string; title?: string }): JSX.Element {
  return <span class="tag" data-tone={tone} title={title}>{children}</span>;
}

/** Grey lines in the place of what is on its way: nothing moves when it comes. */
export function Skeleton({ rows, height }: { rows: number; height: number }): JSX.Element {
  return (
    <div class="skeleton" role="status">
      <span class="visually-hidden">Loading</span>
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} class="skeleton-row" style={{ height: `${height}px` }}>
          <span class="bone dot" />
          <span class="bone" style={{ width: `${30 + ((i * 37) % 45)}%` }} />
        </div>
      ))}
    </div>
  );
}

/** What stands in the place of a list without rows. */
export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <Icon name={icon} size={28} />
      <p class="empty-title">{title}</p>
      {children && <div class="empty-text">{children}</div>}
    </div>
  );
}

/** An error, and the way out of it. */
export function Failure({ title, error, retry }: { title: string; error: unknown; retry?: (() => void) | undefined }): JSX.Element {
  return (
    <div class="empty" role="alert">
      <Icon name="warning" size={28} />
      <p class="empty-title">{title}</p>
      <p class="empty-text">{messageOf(error)}</p>
      {retry && <button type="button" class="button" onClick={retry}><Icon name="retry" /> Retry</button>}
    </div>
  );
}

export function messageOf(error: unknown): string {
  if (error && typeof error === 'object' && 'human' in error && typeof error.human === 'string' && error.human) return error.human;
  return error instanceof Error ? error.message : String(error);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

export function timeText(ms: number): string {
  return clock.format(ms);
}

/** A span of time in words: "42 s", "59 min", "3 h". */
export function span(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return `${Math.round(s / 3600)} h`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

export { ordinal } from '../describe';
