import type { Client, GuildView, Member } from '@guildcast/client';
import { connectShared } from '@guildcast/client/shared';
import { mint, type Account, type Demo } from './accounts';
import { asAction, asUpdate } from './describe';
import { Feed, timeOf, type Names } from './feed';
import { Meter } from './meter';
import { held, type Permission } from './policy';
import { nextFrame, Store } from './store';

const backlog = 500;
const shortLife = 10; // s, the shortest token that the demo mints
const cutSeconds = 5;
const leaving = new Set([2001, 2002]); // actions that hold the member's name

/** What the page is waiting for on purpose, for the banner. */
export type Interruption = { kind: 'cut'; until: number } | { kind: 'restart' } | { kind: 'expiring'; until: number };

/** One demo user's connection, with what the page has heard through it. */
export class Session {
  readonly client: Client;
  readonly view: GuildView;
  readonly feed = new Feed();
  readonly meter = new Meter();
  readonly interruption = new Store<Interruption | null>(null);
  readonly names: Names;
  readonly namesVersion = new Store(0);

  private lost: number | null = null; // when the connection or the elevation was lost
  private back = false; // it has come back, and what was missed is coming
  private caughtUp = 0; // events that were missed
  private short: { token: string; until: number } | null = null;
  private minted = 0; // when the latest long-lived token came, in ms
  private readonly asked = new Set<string>(); // whose names are to be asked for
  private readonly known = new Set<string>(); // whose names were asked for
  private askTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly people = new Map<string, string>();

  constructor(readonly account: Account, readonly demo: Demo) {
    this.client = connectShared(location.origin, {
      key: account.key, // all tabs of a user share a connection
      getToken: () => this.token(),
      // By WebSocket at once: a page that is closed before an upgrade leaves the node a session to wait for.
      io: { path: demo.path, transports: ['websocket', 'polling'], tryAllTransports: true },
      batch: nextFrame,
    });
    this.view = this.client.spectate(demo.guild_id, {
      // The page has a log of its own, with what is not of the guild's log in it too.
      backlog, logSize: 1, load: ['guild', 'channel', 'role', 'customEmoji'],
    });
    this.names = {
      person: (id) => this.person(id) ?? `user …${id.slice(-4)}`,
      account: (id) => this.view.entities.get('member', id)?.name ?? this.names.person(id),
      channel: (id) => `#${this.view.entities.get('channel', id)?.name ?? `…${id.slice(-4)}`}`,
      role: (id) => `@${this.view.entities.get('role', id)?.name ?? `…${id.slice(-4)}`}`,
      emoji: (id) => `:${this.view.entities.get('customEmoji', id)?.name ?? `…${id.slice(-4)}`}:`,
    };
    this.listen();
  }

  /** The permissions that the node says the user has in the guild; before it has, those of the token. */
  get permissions(): ReadonlySet<Permission> {
    const bits = this.client.connection.getSnapshot().elevation.guilds?.[this.demo.guild_id];
    return bits === undefined ? this.account.permissions : held(bits);
  }

  /** Whether the user gets the guild's log. */
  get logs(): boolean {
    return this.permissions.has('VIEW_PUBLIC_LOGS') || this.permissions.has('VIEW_PRIVATE_LOGS');
  }

  /** Cuts the connection for a few seconds. */
  cut(): void {
    this.interruption.set({ kind: 'cut', until: Date.now() + cutSeconds * 1000 });
    this.client.disconnect();
    setTimeout(() => {
      this.interruption.set(null);
      this.client.reconnect();
    }, cutSeconds * 1000);
  }

  /** Has the node stop and start again. */
  async restart(): Promise<void> {
    const answer = await fetch('/demo/restart', { method: 'POST' });
    if (!answer.ok) throw new Error(answer.status === 404 ? 'This node can’t be restarted from here.' : `The node refused (${answer.status}).`);
    this.interruption.set({ kind: 'restart' });
  }

  /** Takes a token that lives for a few seconds, and lets it expire. */
  async expire(): Promise<void> {
    // Of two tokens of one second the one that lives longer counts as newer, and would stay.
    const wait = this.minted + 1000 - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const fresh = await mint(this.account.key, shortLife);
    this.short = { token: fresh.token, until: fresh.expires_at * 1000 };
    this.interruption.set({ kind: 'expiring', until: this.short.until });
    try {
      await this.client.elevate();
    } catch (e) {
      this.short = null;
      this.interruption.set(null);
      throw e;
    }
  }

  /** The token for the client: a short one for as long as it is to run out. */
  private async token(): Promise<string> {
    const { short } = this;
    // The node has the last word on when it has run out.
    const good = this.client.connection.getSnapshot().elevation.status === 'elevated' ? 2000 : 0;
    if (short && Date.now() < short.until + good) return short.token;
    this.short = null;
    const { token } = await mint(this.account.key, 3600);
    this.minted = Date.now();
    return token;
  }

  private listen(): void {
    const { client } = this;
    client.on('event', ({ name, payload, position, replayed }) => {
      this.learn(payload);
      if (!replayed) this.returned(); // what was missed has come
      else if (this.lost !== null) {
        this.caughtUp++;
        this.meter.missed();
      }
      // What opens the log is past; what comes after an absence was missed and is caught up on.
      this.feed.event(name, payload, position, replayed && client.connection.getSnapshot().counts.replays > 0);
      if (!replayed) this.meter.came(timeOf(position));
    });
    client.on('expired', (reason) => {
      this.away();
      this.feed.remark(reason === 'revoked' ? 'The sign-in was revoked' : 'The sign-in ran out', 'bad');
    });
    client.on('elevated', ({ expires_at }) => {
      const waiting = this.interruption.getSnapshot();
      if (waiting?.kind === 'expiring' && expires_at * 1000 > waiting.until) this.interruption.set(null);
    });
    client.on('resync', () => this.feed.remark('Some events may be missing here: what is on display was asked for again', 'bad'));
    let before = client.connection.getSnapshot();
    client.connection.subscribe(() => {
      const now = client.connection.getSnapshot();
      const lost = now.status !== 'connected' || now.counts.connects > before.counts.connects; // and back in one frame
      if (before.status === 'connected' && lost) {
        this.away();
        this.feed.remark('The connection was lost', 'bad');
      }
      if (now.counts.replays > before.counts.replays) {
        this.back = true;
        setTimeout(() => this.returned(), 1000); // if nothing happens meanwhile
      }
      if (now.status === 'connected' && before.status !== 'connected') this.interruption.set(null);
      before = now;
    });
    for (const type of ['member', 'user', 'channel', 'role', 'customEmoji'] as const) {
      this.view.entities.of(type).subscribe(() => this.namesVersion.set(this.namesVersion.getSnapshot() + 1));
    }
  }

  private away(): void {
    this.lost ??= Date.now();
    this.back = false;
    this.caughtUp = 0;
  }

  /** Says that nothing was missed, once what happened meanwhile has come. */
  private returned(): void {
    if (!this.back || this.lost === null) return;
    const seconds = Math.max(1, Math.round((Date.now() - this.lost) / 1000));
    const events = this.caughtUp === 1 ? '1 event' : `${this.caughtUp} events`;
    this.feed.remark(`Back after ${seconds} s: ${this.caughtUp ? `caught up on ${events}, ` : ''}nothing is missing`, 'good');
    this.lost = null;
    this.back = false;
  }

  /** Keeps the names of members that come by: one who leaves is still to be named. */
  private learn(payload: unknown): void {
    const action = asAction(payload);
    if (action?.agent_id && typeof action.data?.name === 'string' && leaving.has(action.action_number)) {
      this.people.set(action.agent_id, action.data.name);
    }
    const update = asUpdate(payload);
    if (update?.type !== 'member') return;
    for (const m of update.data as unknown as Member[]) this.people.set(m.id, m.nick || m.name);
    for (const id of update.nonexistent ?? []) {
      const member = this.view.entities.get('member', id);
      if (member) this.people.set(id, member.nick || member.name);
    }
  }

  /** Somebody's name, if it is known; else it is asked for, together with those of the next moment. */
  private person(id: string): string | undefined {
    const { entities } = this.view;
    const member = entities.get('member', id);
    const name = member ? member.nick || member.name : (this.people.get(id) ?? entities.get('user', id)?.username);
    if (name === undefined && !this.asked.has(id) && !this.known.has(id)) {
      this.asked.add(id);
      this.askTimer ??= setTimeout(() => void this.askNames(), 100);
    }
    return name;
  }

  private async askNames(): Promise<void> {
    this.askTimer = undefined;
    const { entities } = this.view;
    const ids = [...this.asked];
    this.asked.clear();
    ids.forEach((id) => this.known.add(id));
    try {
      await this.view.fetch('member', ids);
      await this.view.fetch('user', ids.filter((id) => !entities.get('member', id))); // who has left is a user all the same
    } catch {
      ids.forEach((id) => this.known.delete(id)); // they are asked for again when they are drawn again
    }
  }
}

const sessions = new Map<string, Session>();

/** The session of an account, opened when somebody first asks for it. */
export function sessionOf(account: Account, demo: Demo): Session {
  let session = sessions.get(account.key);
  if (!session) sessions.set(account.key, (session = new Session(account, demo)));
  return session;
}
