import { Backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { asError, GuildcastError } from "./error.js";
import { endedError, Loads } from "./loads.js";
import { Log, type EventLog } from "./log.js";
import { can, lost } from "./permissions.js";
import { comparePositions, later } from "./position.js";
import type { EntityType, Id, LogAction, PermissionBits, PoolResponse, Position, SpectatingWithPositions } from
  "./protocol.js";
import { Source, type Notifier, type Readable } from "./readable.js";
import { Store, type Change, type EntityStore } from "./store.js";

export interface SpectateOptions {
  /**
   * Whether log entries are wanted: `true` fails for a user who may see none; `"allowed"` (the default) takes what the
   * permissions give, and more when they grow.
   */
  logs?: boolean | "allowed";
  /** How many of the latest events come first, 0 to 500; default 100 with logs, else none. */
  backlog?: number;
  /** Most entries that the log keeps; default 1,000. */
  logSize?: number;
  /** Pools to load at once, as `load` does. */
  load?: readonly EntityType[];
  /** What an event says of entities; by default `readChanges`. */
  read?: (event: GuildEvent) => readonly Change[];
}

/** One event of a guild. None comes twice. */
export interface GuildEvent {
  readonly guildId: Id;
  /** `log_pool`, `log_other`, or a name that its publisher gave it. */
  readonly name: string;
  readonly payload: unknown;
  /** Null if the event was not durable. */
  readonly position: Position | null;
  /** Whether it was published before the guild was spectated, or while this client was away. */
  readonly replayed: boolean;
}

export interface GuildState {
  /**
   * `waiting`: for a connection, an elevation or the node. `live`: events come, and the loaded pools are right.
   * `reconciling`: events come, and pools are being loaded. `ended`: stopped, replaced by another, or refused.
   */
  readonly status: "waiting" | "live" | "reconciling" | "ended";
  /** Whether log entries come. */
  readonly logs: boolean;
  readonly permissions: PermissionBits;
  /** Why it ended, or why it waits or loads again. */
  readonly error: GuildcastError | null;
  readonly loaded: readonly EntityType[];
  readonly loading: readonly EntityType[];
}

/** A guild that is spectated: its entities and its log, kept right until `stop`. */
export interface GuildView {
  readonly guildId: Id;
  /** Settled by the first answer of a node: fulfilled once events come, rejected if it was refused. */
  readonly ready: Promise<SpectatingWithPositions>;
  readonly state: Readable<GuildState>;
  readonly entities: EntityStore;
  readonly log: EventLog;
  /** Loads a whole pool into `entities`, and keeps it right from then on. */
  load(type: EntityType): Promise<void>;
  /** Loads those of the ids that are not known yet, and keeps them right from then on. */
  fetch(type: EntityType, ids: Iterable<Id>): Promise<void>;
  /** Calls the listener with each event of the guild, in order. */
  on(listener: (event: GuildEvent) => void): () => void;
  stop(): void;
}

/** What a view needs of its client. */
export interface GuildHost {
  readonly notifier: Notifier;
  readonly resyncJitter: number;
  /** Sends a request for it. `answer` is called at once, before the events behind the answer. */
  spectate(view: Guild, payload: object, answer: (a: SpectatingWithPositions) => void): Promise<void>;
  pool(query: object, part: (part: PoolResponse) => void): Promise<void>;
  /** The bits of the elevation in a guild, or null if they are not known. */
  bits(guildId: Id): PermissionBits | null;
  changed(): void;
  count(what: "replays" | "replayed" | "gaps" | "events" | "doubles", n?: number): void;
  emit(event: GuildEvent): void;
  gap(view: Guild): void;
  ended(view: Guild): void;
}

const entityTypes: ReadonlySet<string> = new Set<EntityType>([
  "guild", "user", "member", "channel", "role", "customEmoji", "autoResponse", "settingValue",
]);

/** Reads an event that has the form of a `pool_response`: `data` was added or changed, `nonexistent` is gone. */
export function readChanges({ payload }: GuildEvent): Change[] {
  const p = payload as Partial<PoolResponse> | null;
  if (typeof p !== "object" || p === null || !entityTypes.has(p.type!)) return [];
  const type = p.type!;
  const changes: Change[] = [];
  for (const id of Array.isArray(p.nonexistent) ? p.nonexistent : []) changes.push({ type, id, value: null });
  for (const value of Array.isArray(p.data) ? p.data : []) {
    if (typeof value?.id === "string") changes.push({ type, id: value.id, value });
  }
  return changes;
}

/** Whether an event is for the log: it came as one, or is a log action under a name of its own. */
function isLog(name: string, payload: unknown): payload is LogAction {
  return name === "log_other" || (name !== "log_pool" && typeof payload === "object" && payload !== null
    && "action_number" in payload);
}

/** The view of a guild, which its client tells of connections and events. */
export class Guild implements GuildView {
  readonly guildId: Id;
  readonly ready: Promise<SpectatingWithPositions>;
  readonly state: Source<GuildState>;
  readonly entities: Store;
  readonly log: Log;
  /** Whether the node sends its events to this view. */
  live = false;
  /** Whether log entries are among them. */
  logs = false;
  permissions: PermissionBits | null = null; // not known yet
  /** From where a later connection goes on. */
  position: Position | null = null;

  readonly #host: GuildHost;
  readonly #options: SpectateOptions;
  readonly #loads: Loads;
  readonly #events = new Emitter<{ event: [event: GuildEvent] }>();
  readonly #backoff = new Backoff({ first: 1_000 });
  #settleReady!: { resolve(a: SpectatingWithPositions): void; reject(e: GuildcastError): void };
  #answered = false; // by any node, ever
  #logsRefused = false; // where the bits of the elevation are not known
  #ended = false;
  #error: GuildcastError | null = null;
  #seen: Position | null = null; // of the latest event that listeners have had
  #standing: Position | null = null; // what came up to here is replayed
  #replaying = 0; // events of the replay that are still to come
  #retry: ReturnType<typeof setTimeout> | undefined;
  #reload: ReturnType<typeof setTimeout> | undefined;

  constructor(host: GuildHost, guildId: Id, options: SpectateOptions) {
    this.#host = host;
    this.guildId = guildId;
    this.#options = options;
    this.entities = new Store(host.notifier);
    this.log = new Log(options.logSize, host.notifier);
    this.ready = new Promise((resolve, reject) => (this.#settleReady = { resolve, reject }));
    this.ready.catch(() => {}); // the state says it too
    this.state = new Source(host.notifier, () => this.#snapshot());
    this.#loads = new Loads(this.entities, guildId, host.pool, () => this.#changed());
    for (const type of options.load ?? []) void this.load(type);
  }

  load(type: EntityType): Promise<void> {
    return this.#ended ? Promise.reject(endedError()) : this.#loads.load(type);
  }

  fetch(type: EntityType, ids: Iterable<Id>): Promise<void> {
    return this.#ended ? Promise.reject(endedError()) : this.#loads.fetch(type, ids);
  }

  on(listener: (event: GuildEvent) => void): () => void {
    return this.#events.on("event", listener);
  }

  stop(): void {
    this.end(null);
  }

  /** Ends the view. If a right is missing, what it showed is gone; else it stays as it is. */
  end(error: GuildcastError | null): void {
    if (this.#ended) return;
    this.pause();
    this.#ended = true;
    this.#error = error;
    if (error?.code === 403) this.forget();
    this.#settleReady.reject(error ?? endedError());
    this.#loads.end(error ?? endedError());
    this.#changed();
    this.#host.ended(this);
  }

  /** There is no connection, or no elevation. What is shown stays. */
  pause(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#reload);
    this.live = false;
    this.#loads.stop();
    this.#changed();
  }

  /** Forgets what was shown: it belongs to somebody else, or to nobody. */
  forget(): void {
    this.entities.forget();
    this.log.clear();
    this.#loads.invalidate();
    this.position = this.#seen = this.#standing = null;
    this.permissions = null;
  }

  /** There is an elevation: goes on from the position, or begins. */
  resume(): void {
    if (!this.#ended) void this.#spectate(this.position);
  }

  /** The claims were replaced while the connection stayed. */
  refreshed(): void {
    this.#logsRefused = false;
    const bits = this.#host.bits(this.guildId);
    if (!this.live || bits === null) return this.resume(); // the answer says them
    this.#permit(bits);
  }

  /** The node took something away: the guild, or its logs. */
  refused(error: GuildcastError): void {
    if (error.word !== "permission_missing") return this.end(error);
    this.logs = false;
    this.#error = error;
    this.log.clear();
    this.#changed();
  }

  /** Events may be missing: loads everything again, not at the same moment as everybody else. */
  resync(): void {
    if (!this.live) return;
    this.log.interrupted(this.#seen);
    this.#loads.invalidate();
    this.#reconcile(Math.random() * this.#host.resyncJitter, this.logs);
  }

  /** Takes an event of the guild. */
  event(name: string, payload: unknown, position: Position | null): void {
    if (position !== null) {
      if (this.position !== null && comparePositions(position, this.position) <= 0) return this.#host.count("doubles");
      this.position = position;
      if (this.#replaying > 0 && --this.#replaying === 0) this.position = later(position, this.#standing);
    }
    const replayed = position !== null && this.#standing !== null && comparePositions(position, this.#standing) <= 0;
    const event: GuildEvent = { guildId: this.guildId, name, payload, position, replayed };
    if (isLog(name, payload)) {
      this.log.add({ name, payload, position, replayed });
    } else {
      this.log.passed(position);
      this.entities.apply((this.#options.read ?? readChanges)(event), position);
    }
    // A backlog may hold what was there already.
    if (position !== null && this.#seen !== null && comparePositions(position, this.#seen) <= 0) return;
    this.#seen = position ?? this.#seen;
    this.#host.count(replayed ? "replayed" : "events");
    this.#events.emit("event", event);
    this.#host.emit(event);
  }

  async #spectate(since: Position | null): Promise<void> {
    clearTimeout(this.#retry);
    const bits = this.#host.bits(this.guildId);
    const logs = bits === null ? this.#options.logs !== false && !this.#logsRefused : this.#wantsLogs(bits);
    const backlog = this.#options.backlog ?? (logs ? 100 : undefined);
    try {
      await this.#host.spectate(this, {
        guild_id: this.guildId, include_logs: logs, positions: true,
        ...(since !== null && { since }), ...(backlog !== undefined && { backlog }),
      }, (answer) => this.#begin(answer, since));
      this.#backoff.reset();
    } catch (e) {
      this.#refusedAnswer(asError(e, ["spectate"]), since, logs);
    }
  }

  #refusedAnswer(error: GuildcastError, since: Position | null, logs: boolean): void {
    if (this.#ended || error.word === "disconnected" || error.word === "superseded" || error.code === 401
      || error.code === 409) return; // resume follows
    if (error.temporary) {
      this.#error = error;
      this.#retry = setTimeout(() => void this.#spectate(since), this.#backoff.next());
      this.#changed();
    } else if (logs && error.word === "permission_missing" && (this.#answered || this.#options.logs !== true)) {
      this.#logsRefused = true;
      this.log.clear();
      void this.#spectate(since);
    } else {
      this.end(error);
    }
  }

  #wantsLogs(bits: PermissionBits): boolean {
    const { logs = "allowed" } = this.#options;
    if (logs === true && !this.#answered) return true; // the node is to refuse it
    return logs !== false && (can(bits, "VIEW_PUBLIC_LOGS") || can(bits, "VIEW_PRIVATE_LOGS"));
  }

  /** The node answered. What was missed follows, then what is live. */
  #begin(answer: SpectatingWithPositions, since: Position | null): void {
    const first = !this.#answered;
    const again = this.live; // a refill of the log, or other logs than before
    const recovered = since !== null && answer.recovered === true;
    this.live = this.#answered = true;
    this.logs = answer.include_logs ?? false;
    this.#error = null;
    this.#standing = answer.position ?? null;
    this.#replaying = answer.replayed ?? 0;
    if (!recovered) this.position = this.#replaying > 0 ? null : this.#standing;
    else if (this.#replaying === 0) this.position = later(this.position, this.#standing);
    this.#permit(answer.permissions);
    this.#loads.start();
    if (first) {
      this.#settleReady.resolve(answer);
    } else if (recovered) {
      if (!again) this.#host.count("replays");
    } else if (!again || since !== null) {
      this.log.interrupted(this.#seen);
      this.#loads.invalidate();
      this.#host.count("gaps");
      this.#host.gap(this);
      this.#reconcile(Math.random() * this.#host.resyncJitter, false);
    }
    this.#changed();
  }

  /**
   * Takes the bits that hold from now on. What a lost one may have shown goes, and comes again as far as it may; what a
   * new one shows comes too.
   */
  #permit(bits: PermissionBits): void {
    const before = this.permissions;
    this.permissions = bits;
    if (before === null || bits === before) return;
    this.#changed();
    const less = lost(before, bits);
    if (less) {
      for (const type of this.entities.types()) {
        const hidden = type === "settingValue" && !can(bits, "VIEW_SETTINGS");
        if (hidden || (type !== "user" && !this.#loads.has(type))) this.entities.forget(type);
      }
      this.log.clear();
      this.#loads.invalidate();
    }
    this.#reconcile(0, this.logs || this.#wantsLogs(bits));
  }

  /** Loads what is not right after a while, and fills the log from the history. */
  #reconcile(wait: number, backlog: boolean): void {
    clearTimeout(this.#reload);
    this.#reload = setTimeout(() => {
      if (backlog) void this.#spectate(null);
      this.#loads.start();
    }, wait);
  }

  #snapshot(): GuildState {
    const loading = this.#loads.types(false);
    return {
      status: this.#ended ? "ended" : !this.live ? "waiting" : loading.length > 0 ? "reconciling" : "live",
      logs: this.logs, permissions: this.permissions ?? 0, error: this.#error, loaded: this.#loads.types(true), loading,
    };
  }

  #changed(): void {
    this.state.changed();
    this.#host.changed();
  }
}
