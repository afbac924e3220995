import type {
  AnyEntity, ElevationReturn, ErrorPayload, PoolRequest, PoolResponse, Position, SpectateRequest, SpectateReturn,
} from "@guildcast/server";
import { io, type Socket } from "socket.io-client";

/** An event that a client received. */
export interface Received {
  name: string;
  payload: any;
  /** Of a durable event, if the client spectates with positions; null of another one. */
  position?: Position | null;
}

/** How long to wait, in ms. */
export interface Waiting {
  timeout?: number;
}

/** Leaves out a member of each type in a union. */
type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/** A browser's connection. It keeps what it receives until the test asks for it. */
export class Client {
  /** The socket.io-client below. */
  readonly socket: Socket;
  readonly #token: string | undefined;
  readonly #timeout: number;
  readonly #heard: Received[] = [];
  readonly #waiting = new Set<() => void>();
  #lastId = 0;

  /** See TestServer.connect. */
  constructor(url: string, token: string | undefined, timeout: number) {
    this.#token = token;
    this.#timeout = timeout;
    this.socket = io(url, {
      forceNew: true, reconnection: false, transports: ["websocket"], ...(token !== undefined && { auth: { token } }),
    });
    this.socket.onAny((name: string, payload: unknown, position?: Position | null) => {
      this.#heard.push({ name, payload, ...(position !== undefined && { position }) });
      for (const look of [...this.#waiting]) look();
    });
  }

  /** The socket's id. */
  get id(): string {
    return this.socket.id!;
  }

  /** Resolves when the client is connected and, with a token, elevated. */
  async ready(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.socket.once("connect", resolve).once("connect_error", reject);
    });
    if (this.#token !== undefined) {
      const answer: ElevationReturn = (await this.wait("request_elevation_return")).payload;
      if (!answer.success) throw new Error(`the elevation failed: ${JSON.stringify(answer)}`);
    }
    return this;
  }

  /** Takes the first event of this name, or for which the function returns true, as soon as there is one. */
  wait(event: string | ((e: Received) => boolean), { timeout = this.#timeout }: Waiting = {}): Promise<Received> {
    const matches = typeof event === "string" ? (e: Received) => e.name === event : event;
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = () => {
        const at = this.#heard.findIndex(matches);
        if (at < 0) return;
        done();
        resolve(this.#heard.splice(at, 1)[0]!);
      };
      const timer = setTimeout(() => {
        done();
        const what = typeof event === "string" ? event : "an event that matches";
        reject(new Error(`no ${what} in ${timeout} ms; received ${JSON.stringify(this.#heard)}`));
      }, timeout);
      this.#waiting.add(look);
      look();
    });
  }

  /**
   * Takes what has come so far. To know that an event did not come, publish another one after it, and wait for that.
   */
  taken(): Received[] {
    return this.#heard.splice(0);
  }

  /** Spectates a guild. Resolves when what is published reaches the client. */
  async spectate(
    guild: string | null, options: Omit<SpectateRequest, "guild_id" | "_id"> = {},
  ): Promise<SpectateReturn> {
    this.emit("spectate", { guild_id: guild, token: this.#token, ...options });
    const { name, payload } = await this.wait(
      (e) => e.name === "spectate_return" || (e.name === "error" && e.payload.context[0] === "spectate"),
    );
    if (name === "error") throw refused(payload);
    return payload;
  }

  /** Requests entities. Resolves with all of the answer, without the users that come with members. */
  async pool(query: Without<PoolRequest, "_id" | "token">): Promise<{ data: AnyEntity[]; nonexistent: string[] }> {
    const _id = `testserver-${++this.#lastId}`;
    this.emit("pool", { token: this.#token, ...query, _id });
    const data: AnyEntity[] = [];
    for (;;) {
      const { name, payload } = await this.wait(
        (e) => (e.name === "pool_response" || e.name === "error") && e.payload._id === _id,
      );
      if (name === "error") throw refused(payload);
      const part: Omit<PoolResponse, "data"> & { data: AnyEntity[] } = payload;
      if (part.type === query.type) data.push(...part.data);
      if (part.finished) return { data, nonexistent: part.nonexistent };
    }
  }

  /** Sends an event. */
  emit(event: string, ...args: unknown[]): void {
    this.socket.emit(event, ...args);
  }

  /** Sends an event and resolves with its acknowledgement. The answer comes as an event, too. */
  ask(event: string, ...args: unknown[]): Promise<any> {
    return this.socket.timeout(this.#timeout).emitWithAck(event, ...args);
  }

  close(): void {
    this.socket.disconnect();
  }
}

function refused(error: ErrorPayload): Error {
  return Object.assign(new Error(`${error.code} ${error.message}: ${error.human}`), { payload: error });
}
