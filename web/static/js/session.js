import { io } from '/vendor/socket.io.esm.min.js';

const backlog = 30; // events with which a stream opens
const requestTimeout = 10_000; // ms; a little more than the node waits for a backend

/** What a node answers with, rather than with an event of the guild. */
const answers = new Set([
  'request_elevation_return', 'spectate_return', 'pool_response', 'interpret_response', 'error',
  'resync', 'elevation_expiring', 'elevation_expired',
]);

// From the lowest bit.
const permissionNames = [
  'ADMINISTRATOR', 'VIEW_PUBLIC_LOGS', 'VIEW_PRIVATE_LOGS', 'REVERT_LOG_ACTIONS', 'ADD_AUTO_RESPONSE',
  'IGNORE_AUTO_RESPONSE_QUOTA', 'EDIT_ANY_AUTO_RESPONSE', 'DELETE_ANY_AUTO_RESPONSE', 'VIEW_SETTINGS', 'MANAGE_SETTINGS',
  'EXEC_PURGE_CMD',
];

/** An error that the node sent. */
export class Refusal extends Error {
  constructor(e) {
    super(e?.human || e?.message || 'unknown error');
    this.code = e?.code ?? 0;
    this.word = e?.message ?? '';
  }
}

/**
 * One user's connection. Dispatches: change (any state), guildevent (detail {name, payload, replayed}), notice (detail
 * {text, bad}), names (detail: a set of ids that are now known).
 */
export class Session extends EventTarget {
  constructor(account, guildID, path, mint) {
    super();
    this.account = account;
    this.guildID = guildID;
    this.mint = mint; // (life in seconds) => a promise of {token, expires_at}
    this.token = account.token;
    this.elevated = null; // {from, until} in Unix seconds
    this.spectating = null; // {logs}
    this.wanted = null; // what to spectate after a reconnect
    this.position = null; // of the last durable event; what comes behind it is replayed after a reconnect
    this.replaying = 0; // events that come from the past
    this.short = false; // the token is not to be refreshed
    this.names = new Map();
    this.asked = new Map(); // ids whose names are on the way, or do not exist
    this.pools = new Map(); // _id to what to do with the parts
    this.nextID = 1;

    this.socket = io({ path, forceNew: true, autoConnect: false });
    this.listen();
  }

  connect() {
    this.socket.connect();
  }

  /** The names of the permissions that the token gives in the guild. It is read, not verified: that is the node's. */
  get permissions() {
    const claims = JSON.parse(atob(this.token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    const bits = (claims.permissions ?? 0x112) | (claims.guilds?.[this.guildID] ?? 0);
    const names = permissionNames.filter((_, i) => bits & (1 << i));
    return names.includes('ADMINISTRATOR') ? ['ADMINISTRATOR'] : names;
  }

  get transport() {
    return this.socket.io.engine?.transport?.name ?? '';
  }

  listen() {
    const s = this.socket;
    s.on('connect', () => {
      s.io.engine.once('upgrade', () => this.changed());
      this.changed();
      // A node that was started anew may not know the token's secret.
      this.elevate()
        .catch((e) => (e.code === 401 ? this.renew(3600) : Promise.reject(e)))
        .catch((e) => this.notice(e.message, true));
    });
    s.on('disconnect', (reason) => {
      this.elevated = this.spectating = null;
      this.replaying = 0;
      this.asked.clear();
      this.notice(`disconnected: ${reason}`, true);
      this.changed();
    });
    s.on('connect_error', () => this.changed());
    s.on('error', (e) => {
      // An error about a request also comes to its acknowledgement, but for pools, which have none here.
      if (e?._id === undefined) this.notice(new Refusal(e).message, true);
      else this.poolFailed(e);
    });
    s.on('spectate_return', (answer) => this.spectates(answer)); // at once: what is replayed follows
    s.on('pool_response', (part) => this.poolPart(part));
    s.on('resync', (r) => this.notice(`events may have been missed (${r.reason}); ask again for what is on display`));
    s.on('elevation_expiring', () => this.expiring());
    s.on('elevation_expired', (e) => {
      this.elevated = this.spectating = null;
      this.notice(`elevation ended: ${e.reason}`, e.reason !== 'demoted');
      this.changed();
    });
    s.onAny((name, payload, position) => {
      if (answers.has(name)) return;
      if (position) this.position = position;
      const replayed = this.replaying > 0;
      if (replayed) this.replaying--;
      this.dispatchEvent(new CustomEvent('guildevent', { detail: { name, payload, replayed } }));
    });
  }

  /** Cuts the connection for so many seconds. What happens meanwhile comes afterwards. */
  cut(seconds) {
    this.socket.disconnect();
    setTimeout(() => this.connect(), seconds * 1000);
  }

  /** Sends an event with the token, and gives the answer that comes to the acknowledgement. */
  async request(event, payload) {
    let answer;
    try {
      answer = await this.socket.timeout(requestTimeout)
        .emitWithAck(event, { ...payload, token: this.token, _id: this.nextID++ });
    } catch {
      throw new Error(`${event}: no answer`);
    }
    if (typeof answer === 'string') answer = JSON.parse(answer);
    if (answer?.code && answer?.message) throw new Refusal(answer);
    if (answer?.success === false) throw new Refusal(answer.error);
    return answer;
  }

  async elevate() {
    const answer = await this.request('request_elevation', {});
    this.elevated = { from: Date.now() / 1000, until: answer.expires_at };
    this.changed();
    if (this.wanted && !this.spectating) await this.spectate(this.wanted.logs);
  }

  /** Elevates anew with a fresh token that lives for so many seconds, and is then left to expire if it is short. */
  async renew(life) {
    this.short = life < 120;
    const fresh = await this.mint(life);
    this.token = fresh.token;
    await this.elevate();
    this.notice(`token replaced in place, good for ${life} s`);
  }

  expiring() {
    if (this.short) {
      this.notice('elevation_expiring: this token is left to expire', true);
      return;
    }
    this.renew(3600).catch((e) => this.notice(e.message, true));
  }

  async demote() {
    this.wanted = null;
    await this.request('demote', {});
  }

  async spectate(logs) {
    this.wanted = { logs };
    try {
      await this.request('spectate', {
        guild_id: this.guildID, include_logs: logs, positions: true, since: this.position, backlog: backlog,
      });
    } finally {
      this.changed();
    }
  }

  spectates(answer) {
    if (answer.guild_id === null) return;
    this.spectating = { logs: answer.include_logs, since: performance.now() };
    this.replaying = answer.replayed;
    if (this.position && answer.recovered) {
      const n = answer.replayed;
      this.notice(`nothing missed: ${n === 1 ? '1 event' : `${n} events`} replayed`);
      return;
    }
    if (this.position) this.notice('some events could not be recovered', true);
    this.position = answer.position;
  }

  async unspectate() {
    this.wanted = null;
    await this.request('spectate', { guild_id: null });
    this.spectating = null;
    this.changed();
  }

  /** Asks for a pool. onPart gets each part; the promise is kept with the last one, and broken by an error. */
  pool(query, onPart) {
    const id = this.nextID++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.poolFailed({ _id: id, human: 'no answer' }), requestTimeout);
      this.pools.set(id, { onPart, resolve, reject, timer });
      this.socket.emit('pool', { ...query, _id: id, token: this.token });
    });
  }

  poolPart(part) {
    const waiting = this.pools.get(part._id);
    if (!waiting) return;
    waiting.onPart(part);
    if (part.finished) {
      clearTimeout(waiting.timer);
      this.pools.delete(part._id);
      waiting.resolve(part);
    }
  }

  poolFailed(e) {
    const waiting = this.pools.get(e._id);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    this.pools.delete(e._id);
    waiting.reject(new Refusal(e));
  }

  /** Takes note of entities that came by, for their names. */
  learn(type, list) {
    const nameOf = {
      member: (e) => e.nick || e.name, role: (e) => e.name, channel: (e) => `#${e.name}`, user: (e) => e.username,
    }[type];
    if (!nameOf) return;
    const known = new Set();
    for (const e of list) {
      const name = nameOf(e);
      // A member's name in the guild goes before the user's.
      if (this.names.get(e.id) === name || (type === 'user' && this.names.has(e.id))) continue;
      this.names.set(e.id, name);
      known.add(e.id);
    }
    if (known.size) this.dispatchEvent(new CustomEvent('names', { detail: known }));
  }

  /** The name of a member, or null: then it is asked for, together with the others of the next moment. */
  nameOf(id) {
    const name = this.names.get(id);
    if (name) return name;
    if (this.elevated && !this.asked.has(id)) {
      this.asked.set(id, true);
      this.wantNames ??= setTimeout(() => this.askNames(), 150);
    }
    return null;
  }

  async askNames() {
    this.wantNames = undefined;
    const ids = [...this.asked.keys()].filter((id) => this.asked.get(id) && !this.names.has(id)).slice(0, 100);
    ids.forEach((id) => this.asked.set(id, false));
    if (!ids.length || !this.elevated) return;
    const learn = (part) => this.learn(part.type, part.data);
    try {
      const last = await this.pool({ type: 'member', guild_id: this.guildID, request: 'ids', ids }, learn);
      // Who has left is a user all the same.
      if (last.nonexistent?.length) await this.pool({ type: 'user', request: 'ids', ids: last.nonexistent }, learn);
    } catch {
      // The ids stay as they are on display.
    }
  }

  notice(text, bad = false) {
    this.dispatchEvent(new CustomEvent('notice', { detail: { text, bad } }));
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }
}
