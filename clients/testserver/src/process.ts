import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Where a node can be reached. */
export interface Addresses {
  url: string;
  redis: string;
}

/** A node's process. */
export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #kill = () => this.#child.kill("SIGKILL");
  #log = "";

  constructor(binary: string, args: string[], env: Record<string, string>) {
    this.#child = spawn(binary, args, { env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "pipe"] });
    // A test that ends by itself, or by an error, leaves no process behind.
    process.once("exit", this.#kill);
    this.#ended = once(this.#child, "exit").catch(() => undefined).finally(() => process.off("exit", this.#kill));
  }

  /** What the node has logged. */
  get log(): string {
    return this.#log;
  }

  /** Resolves when the node serves. */
  serving(timeout: number): Promise<Addresses> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => {
        clearTimeout(timer);
        reject(new Error(`the node did not start: ${reason}\n${this.#log}`));
      };
      const timer = setTimeout(() => {
        this.#kill();
        fail(`it took over ${timeout} ms`);
      }, timeout);
      this.#child.once("error", (error) => fail(error.message));
      this.#child.once("close", (code) => fail(`it ended with code ${code}`));
      createInterface({ input: this.#child.stderr! }).on("line", (line) => {
        this.#log += line + "\n";
        const at = addresses(line);
        if (at) {
          clearTimeout(timer);
          resolve(at);
        }
      });
    });
  }

  /** Ends the node as an operator would, and kills it if that takes too long. */
  async stop(timeout: number): Promise<void> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(this.#kill, timeout);
    await this.#ended;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    this.#kill();
    await this.#ended;
  }
}

/** Returns the addresses from the line of the log in which the node says that it serves. */
function addresses(line: string): Addresses | undefined {
  let entry: { msg?: string; addr?: string; redis?: string };
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (entry.msg !== "node serves") return undefined;
  return { url: `http://${entry.addr}`, redis: String(entry.redis).replace(/^embedded:/, "redis:") };
}
