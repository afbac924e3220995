import type { ComponentChildren, JSX } from 'preact';
import { useState } from 'preact/hooks';
import { perSecond } from '../feed';
import { latencyBounds } from '../meter';
import type { Session } from '../session';
import { useClock, useStore } from '../store';
import { messageOf, span, timeText } from '../ui/bits';
import { Histogram, Rate } from '../ui/charts';
import { Icon } from '../ui/icon';

const transports: Record<string, string> = { websocket: 'WebSocket', polling: 'HTTP requests', webtransport: 'WebTransport' };

/** How the connection is, and ways to disturb it. */
export function ConnectionPanel({ session, close }: { session: Session; close: () => void }): JSX.Element {
  const c = useStore(session.client.connection);
  const m = useStore(session.meter);
  const now = useClock(1000);
  const { elevation, spectating, counts } = c;
  const rate = perSecond(useStore(session.feed), now, 60);
  const latest = rate.at(-1) ?? 0;
  return (
    <div class="connection">
      <header><h2>Connection</h2>
        <button type="button" class="icon-button" aria-label="Close the panel" onClick={close}><Icon name="close" /></button>
      </header>
      <Disturb session={session} />
      <Diary session={session} />
      <section aria-label="State">
        <h3>Now</h3>
        <dl class="facts">
          <Fact name="Carried by">{c.status === 'connected' ? transports[c.transport ?? ''] ?? c.transport ?? '…' : 'nothing: offline'}</Fact>
          <Fact name="Signed in">{elevation.status === 'elevated' && elevation.expiresAt ? `for ${span((elevation.expiresAt - now) / 1000)} more` : 'no'}</Fact>
          <Fact name="Follows">{spectating ? (spectating.logs ? 'changes and the log' : 'changes') : 'nothing'}</Fact>
          <Fact name="Position"><code>{spectating?.position ?? '–'}</code></Fact>
        </dl>
      </section>
      <section aria-label="Events per second">
        <h3>Events per second <b>{latest}</b></h3>
        <Rate values={rate} label={`Events per second in the latest minute; ${latest} in the last second`} />
      </section>
      <section aria-label="Latency">
        <h3>From the bot to this page <b>{m.median === null ? '–' : `${m.median} ms`}</b></h3>
        <Histogram counts={m.latency} labels={[...latencyBounds.map((b) => `${b}`), '∞']}
          label={m.median === null ? 'No latency was measured yet' : `Latency: half of the events took at most ${m.median} ms`} />
        <p class="quiet small">ms, up to; half of the latest 200 took less than the number above</p>
      </section>
      <section aria-label="Since this page was opened">
        <h3>Since this page was opened</h3>
        <dl class="facts numbers">
          <Fact name="Events received">{counts.events.toLocaleString('en')}</Fact>
          <Fact name="Connections">{counts.connects}</Fact>
          <Fact name="Times caught up">{counts.replays}</Fact>
          <Fact name="Events caught up on">{m.caughtUp.toLocaleString('en')}</Fact>
          <Fact name="Asked for everything again">{counts.resyncs}</Fact>
          <Fact name="Gaps">{counts.gaps}</Fact>
          <Fact name="Doubles dropped">{counts.doubles}</Fact>
        </dl>
      </section>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

/** Buttons that break the connection in each way in which it can break. */
function Disturb({ session }: { session: Session }): JSX.Element {
  const interruption = useStore(session.interruption);
  const c = useStore(session.client.connection);
  const now = useClock(500);
  const [problem, setProblem] = useState('');
  const run = (work: () => unknown) => async (): Promise<void> => {
    setProblem('');
    try {
      await work();
    } catch (e) {
      setProblem(messageOf(e));
    }
  };
  const busy = interruption !== null || c.status !== 'connected';
  return (
    <section aria-label="Try it" class="disturb">
      <h3>Break it: nothing goes missing</h3>
      <div class="disturb-buttons">
        <button type="button" class="button" disabled={busy} onClick={run(() => session.cut())}>Cut the connection</button>
        <button type="button" class="button" disabled={busy} onClick={run(() => session.restart())}>Restart the node</button>
        <button type="button" class="button" disabled={busy} onClick={run(() => session.expire())}>
          {interruption?.kind === 'expiring' ? `Expires in ${span((interruption.until - now) / 1000)}` : 'Let the token expire'}
        </button>
      </div>
      <p class="bad-text" role="status">{problem}</p>
    </section>
  );
}

/** What happened to the connection. */
function Diary({ session }: { session: Session }): JSX.Element | null {
  const feed = useStore(session.feed);
  const remarks = feed.filter((e) => e.remark).slice(-20).reverse();
  return (
    <section aria-label="What happened">
      <h3>What happened</h3>
      <ol class="diary" tabIndex={0} aria-label="What happened to the connection">
        {remarks.map((e) => <li key={e.seq} class={e.remark}><time>{timeText(e.at)}</time><span>{e.parts}</span></li>)}
        {remarks.length === 0 && <li class="quiet">Nothing so far.</li>}
      </ol>
    </section>
  );
}
