import { Backoff } from "./backoff.js";
import { asError, GuildcastError, localError } from "./error.js";
import type { Elevated, ElevationReturn, Id, PermissionBits } from "./protocol.js";

/** Where tokens come from: asked for one whenever a newer one is needed. Null means that nobody is logged in. */
export type TokenSource = () => string | null | undefined | Promise<string | null | undefined>;

export interface ElevationState {
  /** `failed`: there is no token that the node takes, and none will be tried before `elevate` or a new connection. */
  readonly status: "none" | "elevating" | "elevated" | "failed";
  readonly userId: Id | null;
  /** The room of this connection to which any server of the cluster can emit. */
  readonly room: string | null;
  /** In ms since 1970. */
  readonly expiresAt: number | null;
  /** The bits that hold in each guild; null if they are over 1,000. */
  readonly guilds: Readonly<Record<Id, PermissionBits>> | null;
  readonly architusAdmin: boolean;
  /** Why the latest token was not had or not taken. It may be set while elevated: a refresh is tried again. */
  readonly error: GuildcastError | null;
}

export interface ElevationHost {
  /** Sends a token, and returns the answer to it. */
  request(token: string): Promise<ElevationReturn>;
  connected(): boolean;
  /** The state has changed. */
  changed(): void;
  /** The node has taken a token. */
  elevated(answer: Elevated): void;
  /** There will be no elevation, unless somebody asks anew. */
  failed(error: GuildcastError): void;
}

const none: ElevationState = {
  status: "none", userId: null, room: null, expiresAt: null, guilds: null, architusAdmin: false, error: null,
};

/** Refusals in a row after which a source of tokens is not asked again by itself. */
const mostRefusals = 4;
/** Longest time that setTimeout takes. */
const longestTimer = 2 ** 31 - 1;

/** Keeps a connection elevated: gets tokens, hands them in, and replaces them before they expire. */
export class Elevation {
  state: ElevationState = none;
  /** What requests carry: the latest token that was taken, or is about to be. */
  token: string | null = null;
  readonly #host: ElevationHost;
  readonly #refreshBefore: number;
  readonly #timeout: number;
  readonly #backoff = new Backoff({ first: 1_000, most: 30_000 });
  #source: TokenSource | null;
  #round = 0; // a later one ends what an earlier one still waits for
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refusals = 0;
  #waiting: { resolve(answer: Elevated): void; reject(e: GuildcastError): void }[] = []; // for a connection

  constructor(host: ElevationHost, source: TokenSource | null, refreshBefore: number, timeout: number) {
    this.#host = host;
    this.#source = source;
    this.#refreshBefore = refreshBefore;
    this.#timeout = timeout;
    if (source) this.state = { ...none, status: "elevating" };
  }

  /** Returns the token for a handshake: the one at hand while it is good for a while, else a new one. */
  async handshake(): Promise<string | null> {
    if (!this.#source) return null;
    if (this.state.status === "failed") this.#refusals = 0; // a new connection, a new try
    this.#set({ ...this.state, status: "elevating" });
    if (this.token === null || (this.state.expiresAt ?? 0) - Date.now() < this.#refreshBefore / 2) {
      try {
        this.token = await this.#fetch();
      } catch (e) {
        this.token = null;
        this.#set({ ...this.state, error: asError(e, ["request_elevation"]) });
      }
    }
    return this.token;
  }

  /** The connection is there. The node will answer the token of its handshake. */
  connected(token: string | null): void {
    if (token !== null) return;
    if (this.state.error && this.#source) void this.#again();
    else if (this.#source) this.#fail(localError("no_token", "Nobody is logged in.", ["request_elevation"]));
    else this.#set(none);
  }

  disconnected(): void {
    this.#stop();
    if (this.state.status === "elevated") this.#set({ ...this.state, status: "elevating" });
  }

  /** Takes the answer to a token of the handshake, or news that come unasked. */
  answered(answer: ElevationReturn): void {
    if (answer.success) this.#taken(answer);
    else this.#refused(new GuildcastError({ ...answer.error, context: ["request_elevation"] }));
  }

  /** Asks another source from now on, and elevates with its token. */
  elevate(source: TokenSource | null): Promise<Elevated> {
    if (source) this.#source = source;
    this.#refusals = 0;
    return this.refresh();
  }

  /** Gets a token now, or as soon as there is a connection, and hands it in. */
  async refresh(): Promise<Elevated> {
    if (!this.#source) throw localError("no_token", "There is no getToken.", ["request_elevation"]);
    if (!this.#host.connected()) {
      this.token = null;
      this.#set({ ...this.state, status: "elevating" });
      return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    }
    const round = this.#stop();
    if (this.state.status !== "elevated") this.#set({ ...this.state, status: "elevating" });
    try {
      return await this.#hand(round);
    } catch (e) {
      const error = asError(e, ["request_elevation"]);
      if (round === this.#round) this.#refused(error);
      throw error;
    }
  }

  /** The token expires soon. */
  expiring(): void {
    if (this.#source) void this.#again(0);
  }

  expired(reason: "expired" | "revoked" | "demoted"): void {
    this.#stop();
    this.token = null;
    if (reason === "demoted" || !this.#source) {
      this.#set(none);
      return;
    }
    const error = new GuildcastError({ message: `token_${reason}`, code: 401, human: `The token was ${reason}.` });
    this.#set({ ...none, status: "elevating", error });
    void this.#again(0);
  }

  /** Gives the elevation up: no further token is asked for. */
  end(): void {
    this.#stop();
    this.#source = null;
    this.token = null;
    this.#set(none);
  }

  close(): void {
    this.#stop();
    const error = localError("closed", "The client was closed.", ["request_elevation"]);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  async #fetch(): Promise<string | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(localError("timeout", "getToken did not return in time.",
        ["request_elevation"])), this.#timeout);
    });
    try {
      return (await Promise.race([Promise.resolve(this.#source!()), late])) ?? null;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gets a token and hands it in. */
  async #hand(round: number): Promise<Elevated> {
    const token = await this.#fetch();
    this.#check(round);
    if (token === null) throw localError("no_token", "Nobody is logged in.", ["request_elevation"]);
    const answer = await this.#host.request(token);
    this.#check(round);
    if (!answer.success) throw new GuildcastError({ ...answer.error, context: ["request_elevation"] });
    this.token = token;
    this.#taken(answer);
    return answer;
  }

  #check(round: number): void {
    if (round !== this.#round) throw localError("superseded", "Another elevation began.", ["request_elevation"]);
  }

  #taken(answer: Elevated): void {
    this.#refusals = 0;
    this.#backoff.reset();
    const expiresAt = answer.expires_at * 1000;
    this.#set({
      status: "elevated", userId: answer.user_id, room: answer.room, expiresAt, guilds: answer.guilds ?? null,
      architusAdmin: answer.architus_admin, error: null,
    });
    this.#schedule(expiresAt);
    for (const { resolve } of this.#waiting.splice(0)) resolve(answer);
    this.#host.elevated(answer);
  }

  /**
   * Replaces the token a while before its end. The node says so too, by its own clock (`elevation_expiring`); whichever
   * comes first. With a clock that is wrong this must not ask for one token after the other.
   */
  #schedule(expiresAt: number): void {
    this.#stop();
    const left = expiresAt - Date.now();
    const before = Math.min(this.#refreshBefore, left / 2);
    const wait = Math.max(left - before * (1 + Math.random() / 4), 5_000);
    const round = this.#round;
    this.#timer = setTimeout(() => {
      if (round !== this.#round) return;
      if (wait > longestTimer) this.#schedule(expiresAt);
      else if (this.#source) void this.#again(0);
    }, Math.min(wait, longestTimer));
  }

  #refused(error: GuildcastError): void {
    if (error.word === "superseded" && error.local) return;
    const elevated = this.state.status === "elevated";
    if (error.code === 401) this.#refusals++;
    if (!elevated && error.code === 401) this.token = null;
    if (this.#refusals >= mostRefusals || (error.local && error.word === "no_token")) {
      this.#stop();
      if (elevated) {
        this.#set({ ...this.state, error });
      } else {
        this.#fail(error);
      }
      return;
    }
    this.#set({ ...this.state, status: elevated ? "elevated" : "elevating", error });
    void this.#again();
  }

  /** Tries again after a while, if the connection is still there then. */
  async #again(wait = this.#backoff.next()): Promise<void> {
    const round = this.#stop();
    if (wait > 0) await new Promise((resolve) => (this.#timer = setTimeout(resolve, wait)));
    if (round !== this.#round || !this.#host.connected()) return;
    try {
      await this.#hand(round);
    } catch (e) {
      if (round === this.#round && this.#host.connected()) this.#refused(asError(e, ["request_elevation"]));
    }
  }

  #fail(error: GuildcastError): void {
    this.#set({ ...none, status: "failed", error });
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#host.failed(error);
  }

  /** Ends what is going on, and begins a new round. */
  #stop(): number {
    clearTimeout(this.#timer);
    return ++this.#round;
  }

  #set(state: ElevationState): void {
    this.state = state;
    this.#host.changed();
  }
}
