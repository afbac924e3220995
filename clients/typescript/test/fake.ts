// A node that tests play themselves, and a clock of their own.
import { connect, type Client, type ConnectOptions, type Transport, type TransportHandlers } from "../src/index.js";

export class FakeNode implements Transport {
  /** What the client has sent. */
  readonly sent: { event: string; payload: Record<string, unknown> }[] = [];
  handlers!: TransportHandlers;
  closed = false;
  retries = 0;

  open(handlers: TransportHandlers): void {
    this.handlers = handlers;
  }

  send(event: string, payload: object): void {
    // Through JSON, as over the wire.
    this.sent.push({ event, payload: JSON.parse(JSON.stringify(payload)) as Record<string, unknown> });
  }

  retry(): void {
    this.retries++;
  }

  cut(): void {
    this.handlers.disconnected("io client disconnect", null);
  }

  close(): void {
    this.closed = true;
  }

  /** Connects the client; returns the token of its handshake. */
  async connect(): Promise<string | null> {
    this.handlers.connecting();
    const token = await this.handlers.token();
    this.handlers.connected({ id: "sid", transport: "websocket", token });
    return token;
  }

  say(name: string, ...args: unknown[]): void {
    this.handlers.event(name, args);
  }

  /** Answers a request with an error. */
  fail(message: string, code: number, _id: unknown): void {
    this.say("error", { message, code, human: "", details: null, context: ["something"], _id });
  }

  /** Takes a token for so many seconds. */
  elevate(seconds: number, more: object = {}): void {
    this.say("request_elevation_return", {
      success: true, room: "sid_auth", user_id: "77", expires_at: Date.now() / 1000 + seconds, architus_admin: false,
      guilds: { "1": 0x106 }, ...more,
    });
  }

  /** Takes the next request of a name that came since the last call. */
  take(event: string): Record<string, unknown> {
    const at = this.sent.findIndex((s) => s.event === event);
    if (at < 0) throw new Error(`the client sent no ${event}, but ${this.sent.map((s) => s.event).join(", ")}`);
    return this.sent.splice(0, at + 1).at(-1)!.payload;
  }

  /** Answers spectate. */
  spectating(more: object = {}): void {
    const { _id, guild_id, include_logs } = this.take("spectate");
    this.say("spectate_return", {
      success: true, guild_id, include_logs, permissions: 0x106, position: "10-0", recovered: false, replayed: 0, _id,
      ...more,
    });
  }

  /** Answers a pool with these entities. */
  pool(data: object[], position: string | null = null): Record<string, unknown> {
    const asked = this.take("pool");
    const { _id, type, guild_id = null } = asked;
    this.say("pool_response", { _id, type, guild_id, data, nonexistent: [], finished: true, position });
    return asked;
  }
}

export function fake(options: ConnectOptions = {}): { node: FakeNode; client: Client } {
  const node = new FakeNode();
  return { node, client: connect("", { getToken: () => "token", resyncJitter: 0, ...options, transport: node }) };
}

/** Lets promises that are due settle. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
