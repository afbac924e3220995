// The script of the SharedWorker that holds the connection of all tabs: see shared.ts.
import { Hub } from "./shared/hub.js";
import { messagePort, type ToHub, type ToTab } from "./shared/messages.js";
import { socketTransport } from "./transport.js";

const locks = globalThis.navigator?.locks;
const gone = locks ? async (lock: string): Promise<void> => void (await locks.request(lock, () => {})) : null;
const hub = new Hub((options) => socketTransport(options.url, options.io, options.backoff), gone);

(globalThis as unknown as { onconnect: (e: MessageEvent) => void }).onconnect = ({ ports }) => {
  for (const port of ports) hub.serve(messagePort<ToHub, ToTab>(port));
};
