import { Emitter as RedisEmitter } from "@socket.io/redis-emitter";

import { InvalidEventError } from "./errors.js";
import { publishing, type Redis } from "./redis.js";
import { attempt, messageOf, type RetryOptions } from "./retry.js";

export interface EmitterOptions {
  /** As nodes have it with --adapter-key. Default "socket.io". */
  key?: string;
  /** How commands are repeated while Redis is away, as long as it is certain that they were not sent. */
  retry?: RetryOptions;
}

interface Selection {
  namespace: string;
  rooms: string[];
  except: string[];
  flags: { volatile?: true; compress?: boolean };
}

type Operator = ReturnType<RedisEmitter["compress"]>;

/**
 * Emits to the sockets of the whole cluster, whichever node or Node.js server has them. It writes what
 * @socket.io/redis-emitter writes. Unlike there, a call is done once Redis has the message, and fails if it has not.
 *
 * An Emitter is immutable: to, in, except, of, volatile and compress return another one.
 */
export class Emitter {
  readonly #redis: Redis;
  readonly #options: EmitterOptions;
  #selection: Selection = { namespace: "/", rooms: [], except: [], flags: {} };

  constructor(redis: Redis, options: EmitterOptions = {}) {
    this.#redis = redis;
    this.#options = options;
  }

  #with(change: Partial<Selection>): Emitter {
    const emitter = new Emitter(this.#redis, this.#options);
    emitter.#selection = { ...this.#selection, ...change };
    return emitter;
  }

  /** Turns to another namespace, with all of its sockets. */
  of(namespace: string): Emitter {
    const slash = namespace.startsWith("/") ? "" : "/";
    return new Emitter(this.#redis, this.#options).#with({ namespace: slash + namespace });
  }

  /** Turns to the sockets in any of these rooms. A socket is in `<id>` and, once elevated, in `<id>_auth`. */
  to(...rooms: string[]): Emitter {
    return this.#with({ rooms: [...this.#selection.rooms, ...rooms] });
  }

  in(...rooms: string[]): Emitter {
    return this.to(...rooms);
  }

  /** Leaves out the sockets in any of these rooms. */
  except(...rooms: string[]): Emitter {
    return this.#with({ except: [...this.#selection.except, ...rooms] });
  }

  /** What is emitted may be left out for sockets that are not ready. */
  get volatile(): Emitter {
    return this.#with({ flags: { ...this.#selection.flags, volatile: true } });
  }

  compress(compress: boolean): Emitter {
    return this.#with({ flags: { ...this.#selection.flags, compress } });
  }

  /** Emits an event. It returns how many servers heard it. A Buffer is binary, a Date a date. */
  emit(event: string, ...args: unknown[]): Promise<number> {
    return this.#publish(`emit ${JSON.stringify(event)}`, (operator) => operator.emit(event, ...args));
  }

  /** Makes the sockets join rooms. */
  socketsJoin(...rooms: string[]): Promise<number> {
    return this.#publish("join sockets", (operator) => operator.socketsJoin(rooms));
  }

  /** Makes the sockets leave rooms. */
  socketsLeave(...rooms: string[]): Promise<number> {
    return this.#publish("leave sockets", (operator) => operator.socketsLeave(rooms));
  }

  /** Disconnects the sockets from the namespace, or closes their connections. */
  disconnectSockets(close = false): Promise<number> {
    return this.#publish("disconnect sockets", (operator) => operator.disconnectSockets(close));
  }

  /** Emits to the Node.js servers and nodes themselves. */
  serverSideEmit(event: string, ...args: unknown[]): Promise<number> {
    return this.#publish("emit to servers", (_, emitter) => emitter.serverSideEmit(event, ...args));
  }

  async #publish(what: string, emit: (operator: Operator, emitter: RedisEmitter) => unknown): Promise<number> {
    const key = this.#options.key ?? "socket.io";
    const { namespace, rooms, except, flags } = this.#selection;
    // The package ignores what becomes of its messages, so it only encodes them.
    let message: [channel: string, message: string | Buffer] | undefined;
    const encoder = new RedisEmitter({ publish: (...args: [string, string | Buffer]) => { message = args; } }, { key });
    const emitter = encoder.of(namespace);
    // In the order in which they were set, which is that of their bytes.
    let operator = emitter.to(rooms).except(except);
    for (const flag of Object.keys(flags)) {
      operator = flag === "volatile" ? operator.volatile : operator.compress(flags.compress ?? true);
    }
    try {
      emit(operator, emitter);
    } catch (error) {
      throw new InvalidEventError(`${what}: ${messageOf(error)}`, { cause: error }); // a reserved name, or a function
    }
    const [channel, payload] = message!;
    // What one emitter emits stays in order, in a cluster too.
    return Number(await attempt(what, false, async () => (await publishing(this.#redis, key)).publish(channel, payload),
      this.#options.retry));
  }
}
