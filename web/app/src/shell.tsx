import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Demo } from './accounts';
import { perSecond } from './feed';
import { address, type View } from './route';
import type { Session } from './session';
import { Store, useClock, useStore } from './store';
import { theme, toggleTheme } from './theme';
import { Avatar } from './ui/bits';
import { Icon, type IconName } from './ui/icon';
import { useNarrow } from './ui/list';
import { ChatView } from './views/chat';
import { CompareView } from './views/compare';
import { ConnectionPanel } from './views/connection';
import { LogView } from './views/log';
import { Overview } from './views/overview';
import { PoolView } from './views/pool';

const entries: readonly { view: View; label: string; icon: IconName; short?: string }[] = [
  { view: 'overview', label: 'Overview', icon: 'overview' },
  { view: 'log', label: 'Live log', icon: 'log', short: 'Log' },
  { view: 'members', label: 'Members', icon: 'member' },
  { view: 'channels', label: 'Channels', icon: 'channel' },
  { view: 'roles', label: 'Roles', icon: 'role' },
  { view: 'emoji', label: 'Emoji', icon: 'emoji' },
  { view: 'responses', label: 'Auto responses', icon: 'autoResponse' },
  { view: 'settings', label: 'Settings', icon: 'setting' },
  { view: 'chat', label: 'Mock chat', icon: 'chat', short: 'Chat' },
  { view: 'compare', label: 'Compare', icon: 'compare' },
];

/** On a phone these have a place in the bar below; the others are behind More. */
const inBar: readonly View[] = ['overview', 'log', 'members', 'chat'];

/** Whether the connection's panel is open. It stays so from view to view. */
const panelOpen = new Store(matchMedia('(min-width: 1360px)').matches);

/** The frame around every view: where one can go, and how the connection is. */
export function Shell({ session, demo, view }: { session: Session; demo: Demo; view: View }): JSX.Element {
  const open = useStore(panelOpen);
  const phone = useNarrow(720);
  const overlay = useNarrow(1200);
  const [more, setMore] = useState(false);
  const title = entries.find((e) => e.view === view)?.label ?? '';
  useEffect(() => setMore(false), [view]);
  useEffect(() => { if (overlay) panelOpen.set(false); }, [overlay]);
  useEffect(() => {
    if (!(open && overlay) && !more) return undefined;
    const close = (e: KeyboardEvent): void => {
      if (e.key !== 'Escape') return;
      panelOpen.set(false);
      setMore(false);
    };
    addEventListener('keydown', close);
    return () => removeEventListener('keydown', close);
  }, [open, overlay, more]);

  const link = (e: (typeof entries)[number], text: string): JSX.Element => (
    <a key={e.view} href={address(session.account.key, e.view)} aria-current={e.view === view ? 'page' : undefined} title={e.label}>
      <Icon name={e.icon} size={18} /><span>{text}</span>
    </a>
  );
  return (
    <div class="shell" data-panel={open}>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById('main')?.focus(); }}>Skip to the content</a>
      {!phone && (
        <nav class="side" aria-label="Views">
          <a class="brand" href="#/" title="Be somebody else"><img src="/icon.svg" alt="" width="26" height="26" /><span>guildcast</span></a>
          <div class="nav">{entries.map((e) => link(e, e.label))}</div>
          <Who session={session} />
        </nav>
      )}
      <div class="column">
        <header class="top">
          <Banner session={session} />
          <h1>{title}</h1>
          <div class="top-end">
            <StatusButton session={session} open={open} />
            <ThemeButton />
            {phone && <a class="icon-button" href="#/" aria-label={`${session.account.name}: be somebody else`}><Avatar id={session.account.user_id} name={session.account.name} size={26} /></a>}
          </div>
        </header>
        <main id="main" tabIndex={-1}><Content session={session} demo={demo} view={view} /></main>
      </div>
      {open && (
        <aside class="panel" aria-label="Connection">
          <ConnectionPanel session={session} close={() => panelOpen.set(false)} />
        </aside>
      )}
      {phone && (
        <nav class="bar" aria-label="Views">
          {entries.filter((e) => inBar.includes(e.view)).map((e) => link(e, e.short ?? e.label))}
          <button type="button" aria-expanded={more} aria-controls="more" onClick={() => setMore(!more)}
            data-current={!inBar.includes(view) || undefined}>
            <Icon name="more" size={18} /><span>More</span>
          </button>
        </nav>
      )}
      {phone && more && <nav class="more" id="more" aria-label="More views">{entries.filter((e) => !inBar.includes(e.view)).map((e) => link(e, e.label))}</nav>}
    </div>
  );
}

function Content({ session, demo, view }: { session: Session; demo: Demo; view: View }): JSX.Element {
  switch (view) {
    case 'overview': return <Overview session={session} />;
    case 'log': return <LogView session={session} />;
    case 'chat': return <ChatView session={session} />;
    case 'compare': return <CompareView session={session} demo={demo} />;
    default: return <PoolView key={view} session={session} view={view} />;
  }
}

function Who({ session }: { session: Session }): JSX.Element {
  const { account } = session;
  return (
    <a class="who" href="#/" title="Be somebody else">
      <Avatar id={account.user_id} name={account.name} size={32} />
      <span class="who-text"><b>{account.name}</b><span class="quiet">{account.role}</span></span>
      <Icon name="switch" />
      <span class="visually-hidden">Be somebody else</span>
    </a>
  );
}

function ThemeButton(): JSX.Element {
  const dark = useStore(theme) === 'dark';
  return (
    <button type="button" class="icon-button" onClick={toggleTheme} aria-label={dark ? 'Use the light theme' : 'Use the dark theme'}>
      <Icon name={dark ? 'sun' : 'moon'} size={18} />
    </button>
  );
}

/** How the connection is, in two words. */
function StatusButton({ session, open }: { session: Session; open: boolean }): JSX.Element {
  const c = useStore(session.client.connection);
  const feed = useStore(session.feed);
  const rate = perSecond(feed, useClock(1000), 5).reduce((a, b) => a + b, 0) / 5;
  const live = c.status === 'connected' && c.spectating !== null;
  const word = live ? 'Live' : c.status === 'connected' ? 'Signing in' : c.status === 'connecting' ? 'Connecting' : 'Offline';
  return (
    <button type="button" class="status" data-state={live ? 'live' : c.status === 'waiting' || c.status === 'closed' ? 'offline' : 'busy'}
      aria-expanded={open} onClick={() => panelOpen.set(!open)}>
      <span class="status-dot" />
      <span class="status-word">{word}</span>
      <span class="status-rate">{live ? `${rate.toFixed(1)}/s` : ' '}</span>
      <span class="visually-hidden">, connection panel</span>
    </button>
  );
}

/** A lost connection, in the place of the title: nothing on the page moves. */
function Banner({ session }: { session: Session }): JSX.Element | null {
  const c = useStore(session.client.connection);
  const interruption = useStore(session.interruption);
  const now = useClock(500);
  const seconds = (until: number): string => `${Math.max(0, Math.ceil((until - now) / 1000))} s`;
  let text: ComponentChildren;
  let words: string;
  if (interruption?.kind === 'cut') {
    words = 'The connection is cut. What happens meanwhile comes afterwards.';
    text = <>The connection is cut; it comes back in <b>{seconds(interruption.until)}</b></>;
  } else if (c.status === 'waiting' || c.status === 'closed') {
    words = 'The connection is lost.';
    text = c.nextTryAt === null ? <>Connection lost.</> : <>Connection lost. Next try in <b>{seconds(c.nextTryAt)}</b></>;
  } else if (c.status === 'connecting' && (c.attempt > 0 || c.counts.connects > 0)) {
    words = 'Trying to connect.';
    text = <>Connection lost. Trying now…</>;
  } else if (c.elevation.status === 'failed') {
    words = 'Signing in failed.';
    text = <>Signing in failed: {c.elevation.error?.human}</>;
  } else {
    return null;
  }
  return (
    <div class="banner">
      <Icon name="warning" />
      <p role="status"><span class="visually-hidden">{words}</span><span aria-hidden="true">{text}</span></p>
      {c.status === 'waiting' && <button type="button" class="button" onClick={() => session.client.reconnect()}>Try now</button>}
      {c.elevation.status === 'failed' && c.status === 'connected' && (
        <button type="button" class="button" onClick={() => { session.client.elevate().catch(() => undefined); }}>Retry</button>
      )}
    </div>
  );
}
