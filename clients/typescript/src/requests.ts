import { GuildcastError, localError } from "./error.js";
import type { ErrorPayload, RequestId } from "./protocol.js";

export interface RequestOptions {
  /** Gives the request up: its promise is rejected with `aborted`. */
  signal?: AbortSignal;
  /** The longest wait for an answer, or for its next part, in ms; that of the client if left out. */
  timeout?: number;
}

/** What a request needs before it can be sent. */
export type Needs = "connection" | "elevation";

interface Call {
  id: number;
  event: string;
  payload: object;
  needs: Needs;
  sent: boolean;
  timeout: number;
  timer?: ReturnType<typeof setTimeout>;
  /** Takes an answer. It reports whether that was the last one. */
  answer(name: string, payload: unknown): boolean;
  settle(error: GuildcastError | null): void;
}

/** Most requests that wait for answers at once; the node takes 128 of a socket. The others wait here. */
const mostInFlight = 32;

/** The requests of one client: each is settled, by its answer, an error, a disconnection, or its timeout. */
export class Requests {
  readonly #open = new Map<number, Call>(); // in the order in which they were made
  readonly #send: (event: string, payload: object) => void;
  readonly #timeout: number;
  #nextId = 1;
  #inFlight = 0;
  #ready: Needs | "nothing" = "nothing";

  constructor(send: (event: string, payload: object) => void, timeout: number) {
    this.#send = send;
    this.#timeout = timeout;
  }

  /** Makes a request. `answer` sees each answer at once, in order, and reports whether it was the last. */
  call(
    event: string, payload: object, needs: Needs, answer: Call["answer"], options: RequestOptions = {},
  ): Promise<void> {
    const { signal, timeout = this.#timeout } = options;
    return new Promise((resolve, reject) => {
      const aborted = (): void => this.#settle(call, localError("aborted", "The request was given up.", [event],
        signal?.reason));
      const call: Call = {
        id: this.#nextId++, event, payload, needs, sent: false, timeout, answer,
        settle: (error) => {
          signal?.removeEventListener("abort", aborted);
          if (error) reject(signal?.aborted && signal.reason instanceof GuildcastError ? signal.reason : error);
          else resolve();
        },
      };
      this.#open.set(call.id, call);
      if (signal?.aborted) return aborted();
      signal?.addEventListener("abort", aborted);
      this.#watch(call);
      this.#sendMore();
    });
  }

  /** Says what can be sent from now on. */
  ready(ready: Needs | "nothing"): void {
    this.#ready = ready;
    this.#sendMore();
  }

  /** Passes an answer on to its request. It reports whether there is one. */
  answered(name: string, payload: { _id?: RequestId } | null | undefined): boolean {
    const call = this.#open.get(payload?._id as number);
    if (!call?.sent) return false;
    if (name === "error") {
      this.#settle(call, new GuildcastError(payload as unknown as ErrorPayload));
    } else if (call.answer(name, payload)) {
      this.#settle(call, null);
    } else {
      this.#watch(call); // the next part has as long as the first
    }
    return true;
  }

  /** Settles what was sent: the answers will not come. What was not sent yet waits on. */
  disconnected(reason: string): void {
    this.#ready = "nothing";
    this.#fail((call) => call.sent, (call) => localError("disconnected", `The connection was lost: ${reason}.`,
      [call.event]));
  }

  /** Settles all that need what will not be there. */
  fail(needs: Needs, error: (event: string) => GuildcastError): void {
    this.#fail((call) => needs === "connection" || call.needs === needs, (call) => error(call.event));
  }

  #fail(which: (call: Call) => boolean, error: (call: Call) => GuildcastError): void {
    for (const call of [...this.#open.values()]) if (which(call)) this.#settle(call, error(call));
  }

  #sendMore(): void {
    for (const call of this.#open.values()) {
      if (this.#inFlight >= mostInFlight) return;
      const can = this.#ready === "elevation" || this.#ready === call.needs;
      if (call.sent || !can) continue;
      call.sent = true;
      this.#inFlight++;
      this.#watch(call);
      this.#send(call.event, { ...call.payload, _id: call.id });
    }
  }

  #watch(call: Call): void {
    clearTimeout(call.timer);
    call.timer = setTimeout(() => this.#settle(call, localError("timeout", call.sent
      ? "The node did not answer in time." : "It could not be sent in time.", [call.event])), call.timeout);
  }

  #settle(call: Call, error: GuildcastError | null): void {
    if (!this.#open.delete(call.id)) return;
    clearTimeout(call.timer);
    if (call.sent) this.#inFlight--;
    call.settle(error);
    this.#sendMore();
  }
}
