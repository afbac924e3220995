import { lost } from "../permissions.js";
import { comparePositions, later } from "../position.js";
import type { Elevated, ElevationReturn, Id, Position, RequestId, SpectateRequest, SpectatingWithPositions } from
  "../protocol.js";
import type { Transport } from "../transport.js";
import type { ToTab } from "./messages.js";

/** A tab, as an upstream sees it. */
export interface Tab {
  post(message: ToTab): void;
}

interface Elevating {
  tab: Tab;
  token: string;
  id: RequestId | undefined;
}

interface Asking {
  tab: Tab;
  request: SpectateRequest;
}

interface Recorded {
  name: string;
  args: unknown[];
  position: Position | null;
}

/** How many of the latest events are kept for tabs that come later: as many as a node gives as a backlog. */
const recordedMost = 500;
/** The longest wait for a replay that a node has announced, in ms. */
const replayTimeout = 5_000;

/**
 * One connection to a node, for all tabs that want the same of it: one user, and one guild with or without its log. To
 * each tab it is what a node is: it answers, then replays, then passes on what is live, in one order without doubles.
 */
export class Upstream {
  /** Whose token it has, or null. */
  user: string | null = null;
  /** The guild that it spectates or is about to, or null. */
  guild: Id | null = null;
  logs = false;
  readonly #transport: Transport;
  readonly #tabs = new Set<Tab>();
  readonly #elevatedTabs = new Set<Tab>();
  readonly #seen = new Map<Tab, Position | null>(); // of the tabs that spectate: what they have
  readonly #requests = new Map<number, { tab: Tab; id: RequestId | undefined }>();
  #nextId = 1;
  #status: ToTab = { is: "connecting" };

  // The elevation.
  #token: string | null = null; // that the node has taken
  #answer: Elevated | null = null;
  #elevating: Elevating[] = [];
  #handed: { id: number; token: string } | null = null; // the token that the node is to answer

  // What is spectated.
  #asking: Asking[] = []; // not answered yet
  #asked: { id: number; since: Position | null } | null = null; // what the node is to answer
  #answered: SpectatingWithPositions | null = null;
  #replaying = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #position: Position | null = null; // up to where it has received
  #before: Position | null = null; // the same, before the node's latest answer to spectate
  #recorded: Recorded[] = [];
  #from: Position | null = null; // the record holds all after it
  #whole = false; // whether the record holds the latest events without a gap

  constructor(transport: Transport) {
    this.#transport = transport;
    transport.open({
      token: () => Promise.resolve(null),
      connecting: () => this.#say({ is: "connecting" }),
      connected: ({ id, transport: name }) => this.#say({ is: "connected", id, transport: name }),
      upgraded: (name) => {
        if (this.#status.is === "connected") this.#status = { ...this.#status, transport: name };
        this.#tell(this.#tabs, { is: "upgraded", transport: name });
      },
      disconnected: (reason, nextTryAt) => this.#disconnected(reason, nextTryAt),
      event: (name, args) => this.#received(name, args),
    });
  }

  get tabs(): number {
    return this.#tabs.size;
  }

  /** Reports whether nobody but the tab spectates here. */
  free(tab: Tab): boolean {
    return this.#spectators().every((other) => other === tab);
  }

  join(tab: Tab): void {
    this.#tabs.add(tab);
    tab.post(this.#status);
  }

  leave(tab: Tab): void {
    this.#tabs.delete(tab);
    this.#elevatedTabs.delete(tab);
    this.#elevating = this.#elevating.filter((e) => e.tab !== tab);
    for (const [id, { tab: owner }] of this.#requests) if (owner === tab) this.#requests.delete(id);
    this.#leaveGuild(tab);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#transport.close();
  }

  retry(): void {
    this.#transport.retry();
  }

  /** Elevates a tab: at once if the node has taken a token of that user that is no older. */
  elevate(tab: Tab, token: string, id: RequestId | undefined): void {
    this.#elevating.push({ tab, token, id });
    this.#elevateNext();
  }

  demote(tab: Tab, id: RequestId | undefined): void {
    this.#elevatedTabs.delete(tab);
    this.#leaveGuild(tab);
    tab.post({ is: "event", name: "elevation_expired", args: [{ reason: "demoted", _id: id }] });
    if (this.#elevatedTabs.size > 0 || this.#token === null) return;
    this.#send("demote", {});
    this.#forgetElevation();
  }

  spectate(tab: Tab, request: SpectateRequest): void {
    if (request.guild_id === null) {
      const args = [{ success: true, guild_id: null, include_logs: false, _id: request._id }];
      tab.post({ is: "event", name: "spectate_return", args });
      return this.#leaveGuild(tab);
    }
    const guild = String(request.guild_id), logs = request.include_logs ?? false;
    if (this.guild !== guild || this.logs !== logs) this.#forgetGuild();
    this.guild = guild;
    this.logs = logs;
    this.#asking.push({ tab, request });
    this.#askNext();
  }

  /** Passes a request on, and its answers back. */
  request(tab: Tab, event: string, payload: { _id?: RequestId }): void {
    const id = this.#nextId++;
    this.#requests.set(id, { tab, id: payload._id });
    this.#transport.send(event, { ...payload, ...(this.#token !== null && { token: this.#token }), _id: id });
  }

  #send(event: string, payload: object): number {
    const id = this.#nextId++;
    this.#transport.send(event, { ...(this.#token !== null && { token: this.#token }), ...payload, _id: id });
    return id;
  }

  #say(status: ToTab): void {
    this.#status = status;
    this.#tell(this.#tabs, status);
    if (status.is !== "connected") return;
    this.#elevateNext(); // for those who came from another upstream
    this.#askNext();
  }

  #disconnected(reason: string, nextTryAt: number | null): void {
    this.#forgetElevation();
    this.#forgetGuild();
    this.#requests.clear();
    this.#elevating = [];
    this.#say({ is: "disconnected", reason, nextTryAt });
  }

  #received(name: string, args: unknown[]): void {
    const payload = args[0] as { _id?: RequestId } & Record<string, unknown>;
    switch (name) {
      case "request_elevation_return":
        return this.#elevationAnswered(payload as unknown as ElevationReturn);
      case "elevation_expiring": {
        // One tab brings a new token, which then serves all.
        const [first] = this.#elevatedTabs;
        return first?.post({ is: "event", name, args });
      }
      case "elevation_expired": {
        const tabs = [...this.#elevatedTabs];
        this.#forgetElevation();
        return this.#tell(tabs, { is: "event", name, args });
      }
      case "spectate_return":
        if (payload._id === this.#asked?.id) this.#begun(payload as unknown as SpectatingWithPositions);
        return;
      case "resync":
        this.#forgetRecord();
        return this.#tell(this.#spectators(), { is: "event", name, args });
      case "error":
        return this.#failed(payload);
      case "pool_response":
      case "interpret_response":
        return this.#back(name, payload);
      default:
        return this.#event({ name, args, position: (args[1] ?? null) as Position | null });
    }
  }

  /** Returns an answer to the tab that has asked. */
  #back(name: string, payload: { _id?: RequestId; finished?: unknown }): void {
    const asked = this.#requests.get(payload._id as number);
    if (!asked) return;
    if (name !== "pool_response" || payload.finished) this.#requests.delete(payload._id as number);
    asked.tab.post({ is: "event", name, args: [{ ...payload, _id: asked.id }] });
  }

  #failed(error: { _id?: RequestId; context?: unknown }): void {
    const id = error._id;
    if (id !== undefined && id === this.#handed?.id) return; // its request_elevation_return comes too
    if (id !== undefined && id === this.#asked?.id) {
      this.#asked = null;
      const asking = this.#asking.splice(0);
      for (const { tab, request } of asking) {
        tab.post({ is: "event", name: "error", args: [{ ...error, _id: request._id }] });
      }
      return;
    }
    if (id !== undefined) return this.#back("error", error);
    const [event, guild] = Array.isArray(error.context) ? (error.context as unknown[]) : [];
    const about = event === "spectate" && guild === this.guild;
    if (about) this.#forgetRecord();
    this.#tell(about ? this.#spectators() : this.#tabs, { is: "event", name: "error", args: [error] });
  }

  /** Hands the newest token in, if the node is not to answer another one. */
  #elevateNext(): void {
    if (this.#handed || this.#status.is !== "connected") return;
    if (this.#answer) {
      const held = this.#token!;
      this.#elevating = this.#elevating.filter((e) => {
        const later = newer(e.token, held);
        if (!later) this.#elevatedTab(e);
        return later;
      });
    }
    const newest = this.#elevating.reduce<Elevating | null>(
      (best, e) => (best && !newer(e.token, best.token) ? best : e), null);
    if (!newest) return this.#askNext();
    const id = this.#nextId++;
    this.#handed = { id, token: newest.token };
    this.#transport.send("request_elevation", { token: newest.token, _id: id });
  }

  #elevationAnswered(answer: ElevationReturn): void {
    if (answer._id !== this.#handed?.id) return;
    const { token } = this.#handed!;
    this.#handed = null;
    if (answer.success) {
      const asked = new Set(this.#elevating.map((e) => e.tab));
      const others = [...this.#elevatedTabs].filter((tab) => !asked.has(tab));
      const { _id, ...news } = answer;
      if (this.#narrower(news)) this.#forgetRecord(); // it may hold what the new claims do not allow
      this.#token = token;
      this.#answer = news;
      this.#tell(others, { is: "event", name: "request_elevation_return", args: [news] });
      this.#tell(this.#elevatedTabs, { is: "renewed", token });
    } else {
      const refused = this.#elevating.filter((e) => e.token === token);
      this.#elevating = this.#elevating.filter((e) => e.token !== token);
      for (const { tab, id } of refused) {
        const args = [{ success: false, error: answer.error, ...(id !== undefined && { _id: id }) }];
        tab.post({ is: "event", name: "request_elevation_return", args });
      }
    }
    this.#elevateNext();
  }

  /** Reports whether an answer may allow less of the guild than the one before. */
  #narrower(now: Elevated): boolean {
    const before = this.#answer;
    if (!before || this.guild === null || now.architus_admin) return false;
    if (!before.guilds || !now.guilds) return true;
    return lost(before.guilds[this.guild] ?? 0, now.guilds[this.guild] ?? 0);
  }

  #elevatedTab({ tab, id }: Elevating): void {
    this.#elevatedTabs.add(tab);
    const args = [{ ...this.#answer, ...(id !== undefined && { _id: id }) }];
    tab.post({ is: "event", name: "request_elevation_return", args });
    tab.post({ is: "renewed", token: this.#token! });
  }

  /** Asks the node to spectate, if it is not asked already, or answers from the record. */
  #askNext(): void {
    if (this.#asking.length === 0 || this.#asked !== null || this.#replaying > 0 || this.#token === null) return;
    if (this.#status.is !== "connected") return;
    this.#asking = this.#asking.filter((asking) => !this.#serve(asking));
    if (this.#asking.length === 0) return;
    // The oldest position of all; without one among them, the latest events.
    const positions = this.#asking.map(({ request }) => request.since ?? null);
    const since = positions.reduce((a, b) => (a === null || b === null ? null : comparePositions(a, b) <= 0 ? a : b));
    const id = this.#send("spectate", {
      guild_id: this.guild, include_logs: this.logs, positions: true, backlog: recordedMost,
      ...(since !== null && { since }),
    });
    this.#asked = { id, since };
  }

  /** The node answered: its replay follows, and is waited for. */
  #begun(answer: SpectatingWithPositions): void {
    // A backlog is whole from its first event on.
    this.#from = answer.recovered ? this.#asked!.since : answer.replayed === 0 ? answer.position : null;
    this.#asked = null;
    this.#answered = answer;
    this.#before = this.#position;
    this.#recorded = [];
    this.#whole = true;
    this.#replaying = answer.replayed;
    clearTimeout(this.#timer);
    if (this.#replaying === 0) return this.#replayed();
    this.#timer = setTimeout(() => this.#replayed(), replayTimeout); // rights that went cut it short
  }

  #replayed(): void {
    clearTimeout(this.#timer);
    this.#replaying = 0;
    this.#position = later(this.#position, this.#answered!.position);
    // Those who were here before have what came since they had their latest event, if the replay reaches back to it.
    const before = this.#before;
    const reaches = before === null || before === this.#position
      || (this.#from !== null && comparePositions(this.#from, before) <= 0);
    if (!reaches) {
      const args = [{ guild_id: this.guild, reason: "not_recovered" }];
      this.#tell(this.#seen.keys(), { is: "event", name: "resync", args });
    }
    this.#askNext();
  }

  /** Answers a tab from the record, then replays it. It reports whether that was possible. */
  #serve({ tab, request }: Asking): boolean {
    const answer = this.#answered;
    if (!answer || !this.#whole) return false;
    const since = request.since ?? null;
    const reaches = since !== null && this.#from !== null && comparePositions(since, this.#from) >= 0;
    if (since !== null && this.#from !== null && !reaches) return false; // the node may have it
    const durable = this.#recorded.filter((e) => e.position !== null);
    const missed = reaches ? durable.filter((e) => comparePositions(e.position!, since) > 0)
      : request.backlog ? durable.slice(-request.backlog) : [];
    const position = later(this.#position, answer.position);
    tab.post({
      is: "event", name: "spectate_return",
      args: [{ ...answer, position, recovered: reaches, replayed: missed.length, _id: request._id }],
    });
    for (const { name, args } of missed) tab.post({ is: "event", name, args });
    this.#seen.set(tab, position);
    return true;
  }

  #event(event: Recorded): void {
    const { name, args, position } = event;
    const replaying = this.#replaying > 0;
    if (position !== null && replaying) {
      const standing = this.#answered!.position;
      const live = standing !== null && comparePositions(position, standing) > 0;
      this.#replaying = live ? 0 : this.#replaying - 1;
    }
    this.#record(event);
    this.#position = later(this.#position, position);
    for (const [tab, seen] of this.#seen) {
      if (position !== null && seen !== null && comparePositions(position, seen) <= 0) continue;
      this.#seen.set(tab, position ?? seen);
      tab.post({ is: "event", name, args });
    }
    if (replaying && this.#replaying === 0) this.#replayed();
  }

  #record(event: Recorded): void {
    this.#recorded.push(event);
    if (this.#whole) this.#from ??= event.position;
    if (this.#recorded.length <= recordedMost) return;
    const dropped = this.#recorded.shift()!;
    if (this.#from !== null) this.#from = later(this.#from, dropped.position);
  }

  #spectators(): Tab[] {
    return [...new Set([...this.#seen.keys(), ...this.#asking.map((a) => a.tab)])];
  }

  /** A tab no longer spectates; the last one ends it at the node. */
  #leaveGuild(tab: Tab): void {
    this.#seen.delete(tab);
    this.#asking = this.#asking.filter((a) => a.tab !== tab);
    if (this.guild === null || this.#spectators().length > 0) return;
    if (this.#token !== null && this.#status.is === "connected") this.#send("spectate", { guild_id: null });
    this.#forgetGuild();
  }

  #forgetElevation(): void {
    this.#token = this.#answer = this.#handed = null;
    this.#elevatedTabs.clear();
    this.#forgetGuild();
  }

  #forgetGuild(): void {
    clearTimeout(this.#timer);
    this.guild = this.#asked = this.#answered = this.#position = null;
    this.#replaying = 0;
    this.#asking = [];
    this.#seen.clear();
    this.#forgetRecord();
  }

  #forgetRecord(): void {
    this.#recorded = [];
    this.#from = null;
    this.#whole = false;
  }

  #tell(tabs: Iterable<Tab>, message: ToTab): void {
    for (const tab of [...tabs]) tab.post(message);
  }
}

interface Claims {
  sub?: unknown;
  id?: unknown;
  iat?: unknown;
  exp?: unknown;
}

/** Reads a token without verifying it, which is the node's to do. */
function claims(token: string): Claims {
  try {
    const part = token.replace(/^Bearer /, "").split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    return (JSON.parse(atob(part)) ?? {}) as Claims;
  } catch {
    return {};
  }
}

/** Reports whether a token is newer than another, as a node sees it: by `iat`, then by `exp`. */
function newer(a: string, b: string): boolean {
  const x = claims(a), y = claims(b);
  return (number(x.iat) - number(y.iat) || number(x.exp) - number(y.exp)) > 0;
}

function number(claim: unknown): number {
  return typeof claim === "number" ? claim : 0;
}

/** Returns the user of a token, or null. */
export function userOf(token: string): string | null {
  const { sub, id } = claims(token);
  const user = sub ?? id;
  return user === undefined || user === null ? null : String(user);
}
