import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { Demo } from '../accounts';
import { asAction, asUpdate } from '../describe';
import type { Entry } from '../feed';
import { kindLabel, lacking, type Permission } from '../policy';
import { sessionOf, type Session } from '../session';
import { useClock, useStore } from '../store';
import { Avatar, Empty, plural, Sentence, Skeleton, timeText } from '../ui/bits';
import { Icon } from '../ui/icon';
import { useNarrow, VirtualList } from '../ui/list';

/** Time in ms that an event has to reach both. */
const settle = 1500;

/** An event that at least one of two people got. */
export interface Pair {
  entry: Entry;
  left: boolean;
  right: boolean;
}

/** Two people side by side: what the filter lets through to each. */
export function CompareView({ session, demo }: { session: Session; demo: Demo }): JSX.Element {
  const others = demo.accounts.filter((a) => a.key !== session.account.key);
  const [key, setKey] = useState((session.account.key === demo.accounts.at(-1)?.key ? others[0] : others.at(-1))?.key ?? '');
  const other = sessionOf(others.find((a) => a.key === key) ?? others[0] ?? session.account, demo);
  const leftFeed = useStore(session.feed);
  const rightFeed = useStore(other.feed);
  const names = useStore(session.namesVersion) + useStore(other.namesVersion);
  const mine = useStore(session.client.connection);
  const theirs = useStore(other.client.connection);
  const ready = mine.spectating !== null && theirs.spectating !== null;
  const [differences, setDifferences] = useState(false);
  const now = useClock(1000);
  const phone = useNarrow(720);

  const pairs = useMemo(() => merge(leftFeed, rightFeed, now - settle), [leftFeed, rightFeed, now]);
  const shown = useMemo(() => (differences ? pairs.filter((p) => p.left !== p.right) : pairs), [pairs, differences]);
  const person = session.logs ? session : other; // whose names are known best does not matter: both ask
  return (
    <div class="compare">
      <div class="compare-heads">
        <Head session={session} pairs={pairs} side="left" />
        <Head session={other} pairs={pairs} side="right"
          choose={<select aria-label="Compare with" value={other.account.key} onChange={(e) => setKey(e.currentTarget.value)}>
            {others.map((a) => <option key={a.key} value={a.key}>{a.name}</option>)}
          </select>} />
      </div>
      <div class="toolbar">
        <label class="switch"><input type="checkbox" checked={differences} onChange={(e) => setDifferences(e.currentTarget.checked)} />Differences only</label>
        <span class="quiet toolbar-note">{ready ? plural(shown.length, 'event') : 'Connecting…'}</span>
      </div>
      <div class="compare-list card">
        {shown.length === 0 && (ready ? <Empty icon="compare" title={differences ? 'No difference yet' : 'Nothing has happened yet'} /> : <Skeleton rows={14} height={36} />)}
        {shown.length > 0 && (
          <VirtualList id="compare" label={`Events of ${session.account.name} and ${other.account.name}, newest first`} count={shown.length}
            rowHeight={phone ? 58 : 36} version={`${names} ${other.account.key}`}
            at={(i) => shown[shown.length - 1 - i] as Pair} keyOf={(p) => p.entry.position ?? p.entry.seq}
            render={(p) => <PairRow pair={p} left={session} right={other} names={person.names} phone={phone} />} />
        )}
      </div>
    </div>
  );
}

function Head({ session, pairs, side, choose }: {
  session: Session; pairs: readonly Pair[]; side: 'left' | 'right'; choose?: JSX.Element;
}): JSX.Element {
  const { account } = session;
  const hidden = useMemo(() => hiddenOf(pairs, side, session.permissions), [pairs, side, session]);
  const got = useMemo(() => pairs.filter((p) => p[side]).length, [pairs, side]);
  return (
    <section class="card compare-head" aria-label={account.name}>
      <Avatar id={account.user_id} name={account.name} size={34} />
      <div class="compare-who">{choose ?? <b>{account.name}</b>}<span class="quiet">{account.role}</span></div>
      <p class="compare-count"><b>{got.toLocaleString('en')}</b> <span class="quiet">seen</span></p>
      <ul class="hidden-counts">
        {hidden.length === 0 && <li class="quiet"><Icon name="check" size={14} />nothing hidden</li>}
        {hidden.map(({ words, needs, n }) => (
          <li key={`${words} ${needs}`}><Icon name="lock" size={14} /><span>{plural(n, words)} hidden{needs && <>: <span class="needs">needs <code>{needs}</code></span></>}</span></li>
        ))}
      </ul>
    </section>
  );
}

function PairRow({ pair: p, left, right, names, phone }: { pair: Pair; left: Session; right: Session; names: Session['names']; phone: boolean }): JSX.Element {
  const sentence = <span class="row-text"><Sentence parts={p.entry.parts} names={names} /></span>;
  const cell = (has: boolean, s: Session): JSX.Element => (has
    ? <span class="cell"><span class="kind" data-kind={p.entry.kind} title={kindLabel[p.entry.kind]}><Icon name={p.entry.kind} /></span>{sentence}</span>
    : <span class="cell hidden-cell"><Icon name="lock" size={14} /><span class="visually-hidden">hidden from {s.account.name}</span></span>);
  if (phone) {
    return (
      <>
        <time>{timeText(p.entry.at)}</time>
        {sentence}
        <span class="marks">
          {[[p.left, left], [p.right, right]].map(([has, s], i) => {
            const who = s as Session;
            return <span key={i} class="mark" data-has={has as boolean}><Avatar id={who.account.user_id} name={who.account.name} size={20} /><span class="visually-hidden">{has ? `seen by ${who.account.name}` : `hidden from ${who.account.name}`}</span></span>;
          })}
        </span>
      </>
    );
  }
  return <><time>{timeText(p.entry.at)}</time>{cell(p.left, left)}{cell(p.right, right)}</>;
}

/**
 * Joins two feeds by the positions of their events, from where both have begun. What is newer than until is left out:
 * it may be on its way to the other.
 */
export function merge(left: readonly Entry[], right: readonly Entry[], until: number): Pair[] {
  const a = left.filter((e) => e.position);
  const b = right.filter((e) => e.position);
  if (!a.length || !b.length) return [];
  const start = Math.max((a[0] as Entry).at, (b[0] as Entry).at);
  const pairs: Pair[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const x = a[i];
    const y = b[j];
    const order = !x ? 1 : !y ? -1 : comparePositions(x.position as string, y.position as string);
    const entry = (order <= 0 ? x : y) as Entry;
    if (order <= 0) i++;
    if (order >= 0) j++;
    if (entry.at >= start && entry.at <= until) pairs.push({ entry, left: order <= 0, right: order >= 0 });
  }
  return pairs;
}

function comparePositions(a: string, b: string): number {
  const [ams = 0, aseq = 0] = a.split('-').map(Number);
  const [bms = 0, bseq = 0] = b.split('-').map(Number);
  return ams - bms || aseq - bseq;
}

interface Hidden {
  words: string; // what is hidden, of one
  needs: Permission | undefined;
  n: number;
}

/** What one of the two did not get, by the permission that it takes. */
function hiddenOf(pairs: readonly Pair[], side: 'left' | 'right', has: ReadonlySet<Permission>): Hidden[] {
  const found = new Map<string, Hidden>();
  for (const p of pairs) {
    if (p[side]) continue;
    const { entry } = p;
    const needs = lacking({
      logs: entry.logs, number: asAction(entry.payload)?.action_number, type: asUpdate(entry.payload)?.type, private: entry.private,
    }, has);
    const words = entry.logs ? 'log event' : 'change';
    const key = `${words} ${needs}`;
    const h = found.get(key);
    if (h) h.n++;
    else found.set(key, { words, needs, n: 1 });
  }
  return [...found.values()].sort((x, y) => y.n - x.n);
}
