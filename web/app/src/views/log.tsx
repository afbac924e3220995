import type { JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { perSecond, plain, type Entry } from '../feed';
import { kindLabel, kinds, type Kind } from '../policy';
import type { Session } from '../session';
import { useStore } from '../store';
import { Empty, plural, Sentence, Skeleton, Tag, timeText } from '../ui/bits';
import { Icon } from '../ui/icon';
import { useNarrow, VirtualList } from '../ui/list';

type Source = 'all' | 'log' | 'changes';

/** The guild's events as they happen, newest first. */
export function LogView({ session }: { session: Session }): JSX.Element {
  const all = useStore(session.feed);
  const names = useStore(session.namesVersion);
  const c = useStore(session.client.connection);
  const phone = useNarrow(720);
  const [text, setText] = useState('');
  const [kind, setKind] = useState<Kind | null>(null);
  const [source, setSource] = useState<Source>('all');
  const [paused, setPaused] = useState(false);
  const [open, setOpen] = useState<Entry | null>(null);
  const [away, setAway] = useState(false); // scrolled down
  const [held, setHeld] = useState(false); // pointed at, or focused
  const toTop = useRef<() => void>(() => undefined);
  const frozen = useRef<readonly Entry[] | null>(null);

  // While somebody reads, the rows stay where they are.
  const still = paused || away || held || open !== null;
  if (!still) frozen.current = null;
  else frozen.current ??= all;
  const entries = frozen.current ?? all;

  const search = text.trim().toLowerCase();
  const shows = useMemo(() => (e: Entry): boolean => {
    if (e.remark) return true;
    if (kind && e.kind !== kind) return false;
    if (source !== 'all' && e.logs !== (source === 'log')) return false;
    return !search || plain(e.parts, session.names).toLowerCase().includes(search);
  }, [kind, source, search, names]);
  const filtered = kind !== null || source !== 'all' || search !== '';
  const shown = useMemo(() => (filtered ? entries.filter(shows) : entries), [entries, shows, filtered]);
  const newer = useMemo(() => {
    if (entries === all) return 0;
    const last = entries.at(-1)?.seq ?? 0;
    const first = all[0]?.seq ?? 0;
    const fresh = all.slice(Math.max(0, last + 1 - first));
    return filtered ? fresh.filter(shows).length : fresh.length;
  }, [entries, all, shows, filtered]);

  const follow = (): void => {
    frozen.current = null;
    toTop.current();
    setPaused(false);
    setOpen(null);
    setAway(false);
    setHeld(false);
  };
  useEffect(() => {
    const close = (e: KeyboardEvent): void => { if (e.key === 'Escape') setOpen(null); };
    addEventListener('keydown', close);
    return () => removeEventListener('keydown', close);
  }, []);

  const rowHeight = phone ? 58 : 36;
  const fast = perSecond(all, Date.now(), 3).some((n) => n > 3);
  return (
    <div class="log" data-open={open !== null}>
      <div class="toolbar">
        <label class="search">
          <Icon name="search" />
          <span class="visually-hidden">Find in the log</span>
          <input type="search" placeholder="Find in the log" value={text} onInput={(e) => setText(e.currentTarget.value)} autocomplete="off" spellcheck={false} />
        </label>
        <Sources session={session} source={source} choose={setSource} />
        <button type="button" class="button" aria-pressed={paused} onClick={() => (paused ? follow() : setPaused(true))}>
          <Icon name={paused ? 'play' : 'pause'} /><span>{paused ? 'Resume' : 'Pause'}</span>
        </button>
      </div>
      <div class="chips" role="group" aria-label="Kinds of events">
        <button type="button" class="chip" aria-pressed={kind === null} onClick={() => setKind(null)}>Everything</button>
        {kinds.map((k) => (
          <button key={k} type="button" class="chip" aria-pressed={kind === k} onClick={() => setKind(kind === k ? null : k)}>
            <Icon name={k} size={14} />{kindLabel[k]}
          </button>
        ))}
      </div>
      <div class="log-body">
        <div class="log-list card" data-still={still} data-fast={fast}>
          {shown.length === 0 && (all.length === 0 && !c.spectating
            ? <Skeleton rows={phone ? 11 : 18} height={rowHeight} />
            : <Empty icon="log" title={filtered ? 'Nothing matches' : 'Nothing has happened yet'}>
              {filtered && <button type="button" class="button" onClick={() => { setText(''); setKind(null); setSource('all'); }}>Show everything</button>}
            </Empty>)}
          {shown.length > 0 && (
            <VirtualList id="log" label="Events, newest first" count={shown.length} rowHeight={rowHeight} version={names}
              at={(i) => shown[shown.length - 1 - i] as Entry} keyOf={(e) => e.seq}
              rowClass={(e) => (e.remark ? `remark ${e.remark}` : e.private ? 'private' : '')}
              render={(e) => <LogRow entry={e} session={session} />}
              open={(e) => { if (!e.remark) setOpen(e); }} openKey={open?.seq ?? null}
              onTop={(atTop) => setAway(!atTop)} onHold={setHeld} scroller={(f) => { toTop.current = f; }} />
          )}
          {newer > 0 && (
            <button type="button" class="newer" onClick={follow}><Icon name="play" size={14} />{newer.toLocaleString('en')} new</button>
          )}
        </div>
        {open && <Detail entry={open} session={session} close={() => setOpen(null)} />}
      </div>
      <p class="foot quiet">
        <span>{filtered ? `${shown.length.toLocaleString('en')} of ${plural(entries.length, 'event')}` : plural(entries.length, 'event')}</span>
        <span>{paused ? 'Paused' : still ? 'Held while you read' : 'Following'}</span>
      </p>
    </div>
  );
}

function Sources({ session, source, choose }: { session: Session; source: Source; choose: (s: Source) => void }): JSX.Element {
  const reason = session.logs ? undefined : 'needs VIEW_PUBLIC_LOGS';
  const option = (value: Source, label: string, why?: string): JSX.Element => (
    <button type="button" aria-pressed={source === value} disabled={why !== undefined} onClick={() => choose(value)} aria-describedby={why && 'log-reason'}>
      {why && <Icon name="lock" size={14} />}{label}
    </button>
  );
  return (
    <div class="sources">
      <div class="segments" role="group" aria-label="Where events come from">
        {option('all', 'All')}
        {option('log', 'Log entries', reason)}
        {option('changes', 'Changes')}
      </div>
      {reason && <span class="reason" id="log-reason">Log entries are hidden: {reason}</span>}
    </div>
  );
}

function LogRow({ entry, session }: { entry: Entry; session: Session }): JSX.Element {
  if (entry.remark) {
    return <><time>{timeText(entry.at)}</time><span class="row-text">{entry.parts}</span></>;
  }
  return (
    <>
      <time data-position={entry.position}>{timeText(entry.at)}</time>
      <span class="kind" data-kind={entry.kind} title={kindLabel[entry.kind]}><Icon name={entry.kind} /></span>
      <span class="row-text"><Sentence parts={entry.parts} names={session.names} /></span>
      {entry.private && <Tag tone="private">private</Tag>}
      {entry.caughtUp && <Tag tone="good" title="It happened while you were away">caught up</Tag>}
    </>
  );
}

/** Everything that is known of an event. */
export function Detail({ entry, session, close }: { entry: Entry; session: Session; close: () => void }): JSX.Element {
  const raw = useMemo(() => JSON.stringify(entry.payload, null, 2), [entry]);
  return (
    <section class="detail card" aria-label="Event">
      <header>
        <span class="kind" data-kind={entry.kind}><Icon name={entry.kind} /></span>
        <h2>{kindLabel[entry.kind]}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={close}><Icon name="close" /></button>
      </header>
      <p class="detail-text"><Sentence parts={entry.parts} names={session.names} /></p>
      <dl class="facts">
        <div><dt>When</dt><dd>{new Date(entry.at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' })}</dd></div>
        <div><dt>Source</dt><dd>{entry.logs ? 'The server’s log' : 'A change of its data'}</dd></div>
        <div><dt>Seen by</dt><dd>{entry.private ? 'Those who may see private logs' : 'Those with the right to this kind'}</dd></div>
        <div><dt>Position</dt><dd><code>{entry.position ?? 'none'}</code></dd></div>
        <div><dt>Event</dt><dd><code>{entry.name}</code></dd></div>
      </dl>
      <h3>As it was sent</h3>
      <pre tabIndex={0} aria-label="The event as JSON">{raw}</pre>
    </section>
  );
}
