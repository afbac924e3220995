import type { ComponentChildren, JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { perSecond, type Entry } from '../feed';
import { meaning, permissions } from '../policy';
import { address, type View } from '../route';
import type { Session } from '../session';
import { useClock, useStore } from '../store';
import { Avatar, ordinal, Sentence, Skeleton, timeText } from '../ui/bits';
import { Rate } from '../ui/charts';
import { Icon, type IconName } from '../ui/icon';

/** The server at a glance. */
export function Overview({ session }: { session: Session }): JSX.Element {
  const { entities } = session.view;
  useEffect(() => {
    session.view.load('autoResponse').catch(() => undefined);
  }, [session]);
  const guild = useStore(entities.of('guild')).get(session.demo.guild_id);
  return (
    <div class="overview">
      <section class="card hero" aria-label="Server">
        <Avatar id={session.demo.guild_id} name={guild?.name.replace(/^The /, '') ?? ' '} size={52} />
        <div class="hero-text">
          <h2>{guild?.name ?? <span class="bone" style={{ width: '160px' }} />}</h2>
          <p class="quiet">{guild ? guild.description ?? 'No description' : <span class="bone" style={{ width: '260px' }} />}</p>
        </div>
        <dl class="hero-facts">
          <Fact label="Members" value={guild?.member_count} />
          <Fact label="Boosts" value={guild?.premium_subscription_count} />
          <Fact label="Channels" value={useSize(session, 'channel')} />
          <Fact label="Roles" value={useSize(session, 'role')} />
        </dl>
      </section>
      <Activity session={session} />
      <Latest session={session} />
      <Rights session={session} />
      <Top session={session} />
    </div>
  );
}

function useSize(session: Session, type: 'channel' | 'role'): number | undefined {
  const n = useStore(session.view.entities.of(type)).size;
  return n || undefined;
}

function Fact({ label, value }: { label: string; value: number | null | undefined }): JSX.Element {
  return <div><dt>{label}</dt><dd>{value?.toLocaleString('en') ?? <span class="bone" style={{ width: '28px' }} />}</dd></div>;
}

function Card({ title, icon, more, area, children }: {
  title: string; icon: IconName; more?: { href: string; label: string } | undefined; area: string; children: ComponentChildren;
}): JSX.Element {
  return (
    <section class={`card ${area}`} aria-label={title}>
      <header class="card-head">
        <Icon name={icon} /><h2>{title}</h2>
        {more && <a href={more.href}>{more.label}<Icon name="arrow" size={12} /></a>}
      </header>
      {children}
    </section>
  );
}

function Activity({ session }: { session: Session }): JSX.Element {
  const rate = perSecond(useStore(session.feed), useClock(1000), 60);
  const total = rate.reduce((a, b) => a + b, 0);
  return (
    <Card title="Activity" icon="connection" area="activity">
      <p class="big">{total}<span class="quiet"> events in the last minute</span></p>
      <Rate values={rate} label={`${total} events in the last minute, by second`} />
    </Card>
  );
}

const latestRows = 16; // as many as fit are seen

function Latest({ session }: { session: Session }): JSX.Element {
  const feed = useStore(session.feed);
  useStore(session.namesVersion);
  const latest: Entry[] = [];
  for (let i = feed.length - 1; i >= 0 && latest.length < latestRows; i--) if (!(feed[i] as Entry).remark) latest.push(feed[i] as Entry);
  return (
    <Card title="Happening now" icon="log" area="latest" more={{ href: address(session.account.key, 'log'), label: 'Live log' }}>
      {latest.length === 0 ? <div class="rows"><Skeleton rows={latestRows} height={36} /></div> : (
        <ul class="rows">
          {latest.map((e, i) => (
            <li key={e.seq} class="row" style={{ transform: `translateY(${i * 36}px)` }}>
              <time>{timeText(e.at)}</time>
              <span class="kind" data-kind={e.kind}><Icon name={e.kind} /></span>
              <span class="row-text"><Sentence parts={e.parts} names={session.names} /></span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Rights({ session }: { session: Session }): JSX.Element {
  useStore(session.client.connection);
  const has = session.permissions;
  return (
    <Card title="Your permissions" icon="role" area="rights" more={{ href: address(session.account.key, 'compare'), label: 'Compare' }}>
      <ul class="rights">
        {permissions.filter((p) => p !== 'ADMINISTRATOR').map((p) => (
          <li key={p} class="right" data-held={has.has(p)} title={p}>
            <Icon name={has.has(p) ? 'check' : 'lock'} size={14} />{meaning[p]}
            {!has.has(p) && <span class="visually-hidden"> (not permitted)</span>}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Top({ session }: { session: Session }): JSX.Element {
  const { entities } = session.view;
  const responses = [...useStore(entities.of('autoResponse')).values()].sort((a, b) => b.count - a.count).slice(0, 5);
  const emoji = [...useStore(entities.of('customEmoji')).values()].sort((a, b) => b.numUses - a.numUses).slice(0, 5);
  const list = (view: View, title: string, icon: IconName, rows: { key: string; name: string; n: number }[]): JSX.Element => {
    const most = Math.max(1, ...rows.map((r) => r.n));
    return (
      <Card title={title} icon={icon} area={`top-${view}`} more={{ href: address(session.account.key, view), label: 'All' }}>
        {rows.length === 0 ? <Skeleton rows={5} height={30} /> : (
          <ol class="ranks">
            {rows.map((r) => (
              <li key={r.key}>
                <span class="rank-bar" style={{ width: `${(100 * r.n) / most}%` }} />
                <span class="rank-name">{r.name}</span><span class="rank-n" title={`Used for the ${ordinal(r.n)} time`}>{r.n.toLocaleString('en')}</span>
              </li>
            ))}
          </ol>
        )}
      </Card>
    );
  };
  return (
    <>
      {list('responses', 'Most used auto responses', 'autoResponse', responses.map((r) => ({ key: r.id, name: r.trigger, n: r.count })))}
      {list('emoji', 'Most used emoji', 'emoji', emoji.map((e) => ({ key: e.id, name: `:${e.name}:`, n: e.numUses })))}
    </>
  );
}
