// A guildcast worker with nothing but a Redis client: answers `interpret` with an echo, and pool requests from a JSON file.
//   REDIS_URL=redis://localhost:6379 SERVICES=interpret,pool:0 node worker.js ../pools.json
// The protocol is described in docs/reference/workers.md.
const { randomUUID } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { createClient } = require('redis');

const streams = (process.env.SERVICES ?? 'interpret,pool:0').split(',').map((s) => `guildcast:requests:${s}`);
const group = 'workers';
const me = `node-${randomUUID()}`; // nobody else's name, also not that of this worker's earlier life
const claimAfter = 2000; // ms without a sign of life, then a request is taken over
const partSize = Number(process.env.PART_SIZE ?? 1000); // entities in one part of an answer
const delay = Number(process.env.DELAY_MS ?? 0); // pretend that the work takes time
const pools = JSON.parse(readFileSync(process.argv[2], 'utf8'));

// answer returns the parts of the result; what it throws becomes the error.
function answer(method, args) {
  if (method === 'interpret') {
    const said = args.action === 3001 && !args.silent ? `you said: ${args.content}` : null;
    const actions = said ? [{ action: 3001, message_id: args.message_id + 1, content: said }] : [];
    return [{ guild_id: args.guild_id, actions }];
  }
  const pool = pools[args.guild_id || 'global']?.[args.type] ?? [];
  if (method === 'fetch') {
    const found = pool.filter((e) => args.ids.includes(e.id));
    const nonexistent = args.ids.filter((id) => !found.some((e) => e.id === id));
    return [{ data: found, nonexistent }];
  }
  if (method === 'search') {
    const matches = (e) => [e.name, e.nick, e.username].some((n) => n?.toLowerCase().includes(args.query.toLowerCase()));
    return [{ data: pool.filter(matches).slice(0, args.limit ?? 25), nonexistent: [] }];
  }
  if (method === 'all') {
    const parts = [];
    for (let i = 0; i === 0 || i < pool.length; i += partSize) {
      parts.push({ data: pool.slice(i, i + partSize), nonexistent: [] });
    }
    return parts;
  }
  throw Object.assign(new Error('unknown_method'), { code: 400 });
}

async function handle(redis, stream, entry, request) {
  const { id, reply_to: replyTo, deadline } = request;
  const publish = (message) => redis.publish(replyTo, JSON.stringify({ id, worker: `${me}/${entry}`, ...message }));
  if (id && replyTo && Date.now() < Number(deadline)) {
    if (delay) await sleep(delay);
    try {
      const parts = answer(request.method, JSON.parse(request.args));
      for (const [part, result] of parts.entries()) {
        await publish({ ok: true, result, part, more: part < parts.length - 1 });
      }
    } catch (err) {
      if (!err.code) console.error(err);
      await publish({ ok: false, error: { code: err.code ?? 500, message: err.code ? err.message : 'internal' } });
    }
  }
  await redis.multi().xAck(stream, group, entry).xDel(stream, entry).exec();
}

// take waits for new requests, and takes over those that another worker has left.
async function take(redis, reader) {
  const fresh = await reader.xReadGroup(group, me, streams.map((key) => ({ key, id: '>' })), { COUNT: 1, BLOCK: 500 });
  const taken = (fresh ?? []).map(({ name, messages }) => [name, messages]);
  for (const stream of streams) taken.push([stream, await takeOver(redis, stream)]);
  for (const [stream, messages] of taken) {
    for (const m of messages) await handle(redis, stream, m.id, m.message);
  }
}

// takeOver returns one request that another worker has left. Those that are gone from the stream are acknowledged: Redis
// before 7 would keep them pending for ever.
async function takeOver(redis, stream) {
  for (;;) {
    const [left] = await redis.xPendingRange(stream, group, '-', '+', 1, { IDLE: claimAfter });
    if (!left) return [];
    const claimed = await redis.xClaimJustId(stream, group, me, claimAfter, left.id);
    if (!claimed.length) continue; // somebody was faster
    const found = await redis.xRange(stream, left.id, left.id);
    if (found.length) return found;
    await redis.xAck(stream, group, left.id);
  }
}

// join makes the group where there is none yet. It hears what the stream holds already.
async function join(redis) {
  for (const stream of streams) {
    await redis.xGroupCreate(stream, group, '0', { MKSTREAM: true }).catch((err) => {
      if (!err.message.startsWith('BUSYGROUP')) throw err;
    });
  }
}

async function main() {
  const redis = createClient({ url: process.env.REDIS_URL });
  redis.on('error', (err) => console.error('redis:', err.message));
  const reader = redis.duplicate(); // reading blocks its connection
  reader.on('error', () => {});
  await Promise.all([redis.connect(), reader.connect()]);
  for (let joined = false; ; ) {
    try {
      if (!joined) {
        await join(redis);
        joined = true;
        console.log('worker is ready');
      }
      await take(redis, reader);
    } catch (err) {
      console.error('worker:', err.message);
      joined = false; // Redis may have come back without the group
      await sleep(500);
    }
  }
}

main();
