// The first Architus dashboard's gateway client, as its events, fields, cookie and order are, with socket.io-client 2.3.
// It goes through a session of all its features, and judges every event that comes as strictly as the dashboard does:
// what that can't decode it drops. Environment: URL, ORIGIN, TOKEN, SECRET, GUILD and FOREIGN. It exits with 0, and prints what
// it has seen, if nothing was malformed.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import jwt from "jsonwebtoken";

const io = createRequire(import.meta.url)("socket.io-client-2.3");
const { URL: url, ORIGIN: origin, TOKEN: token, SECRET: secret, GUILD: guild, FOREIGN: foreign } = process.env;
const patience = 60_000;

// Decoders: each throws on what the dashboard can't decode.
const text = (v) => assert.equal(typeof v, "string");
const number = (v) => assert.equal(typeof v, "number");
const flag = (v) => assert.equal(typeof v, "boolean");
const id = (v) => (text(v), assert.match(v, /^[0-9]{7,20}$/));
const time = (v) => (text(v), assert.ok(!Number.isNaN(new Date(v).getTime()), v));
const list = (of) => (v) => (assert.ok(Array.isArray(v)), v.forEach(of));
const optional = (of) => (v) => v === null || v === undefined || of(v);
const oneOf = (...values) => (v) => assert.ok(values.includes(v), `${v}`);
const pair = (v) => (list(text)(v), assert.equal(v.length, 2));
const anything = () => {};
const object = (members) => (v) => {
  assert.ok(typeof v === "object" && v !== null && !Array.isArray(v), `${v}`);
  for (const [name, of] of Object.entries(members)) {
    try {
      of(v[name]);
    } catch (err) {
      throw new Error(`${name}: ${err.message}`, { cause: err });
    }
  }
};

const entities = {
  user: object({
    id, username: text, discriminator: text, avatar: optional(text), bot: optional(flag), system: optional(flag),
    mfa_enabled: optional(flag), locale: optional(text), verified: optional(flag), email: optional(text),
    flags: optional(number), premium_type: optional(oneOf(1, 2)),
  }),
  guild: object({
    id, name: text, architus_admin: flag, owner: flag, permissions: number, features: list(text), has_architus: flag,
    icon: optional(text), splash: optional(text), region: optional(list(text)), afk_timeout: optional(number),
    max_members: optional(number), banner: optional(text), description: optional(text),
    mfa_level: optional(oneOf(0, 1)), premium_tier: optional(oneOf(0, 1, 2, 3)),
    premium_subscription_count: optional(number), preferred_locale: optional(text), member_count: optional(number),
  }),
  autoResponse: object({
    id, trigger: text, response: text, authorId: optional(id), guildId: id, triggerRegex: text,
    triggerPunctuation: list(text), responseTokens: list(pair), count: number, mode: oneOf("punctuated", "naive", "regex"),
  }),
  member: object({
    id, name: text, discriminator: text, joined_at: time, avatar: optional(text), color: optional(text),
    nick: optional(text), roles: list(id),
  }),
  channel: object({ id, name: text }),
  customEmoji: object({ id, name: text, discordId: optional(id), authorId: id, url: text, numUses: number, priority: number }),
};

const actions = {
  3001: object({ messageId: number, content: text }),
  3002: object({ messageId: number, content: text }),
  72: object({ messageId: number }),
  3100: object({ messageId: number, emoji: text }),
  3101: object({ messageId: number, emoji: text, targetsUser: flag }),
};

const decoders = {
  pool_response: object({ _id: number, finished: flag, data: list(object({})), nonexistant: list(id) }),
  mock_bot_event: object({
    guildId: number,
    actions: list((a) => (object({})(a), assert.ok(actions[a.action], `action ${a.action}`), actions[a.action](a))),
  }),
  error: object({
    message: text, human: optional(text), details: optional(text), context: optional(anything), _id: optional(number),
    code: number,
  }),
  elevation_return: object({ message: text }),
  request_elevation_return: object({ success: flag }), // which the dashboard does not know
};

let events = 0;
const malformed = [];

// Client is one page.
class Client {
  constructor(options) {
    this.log = [];
    this.types = new Map(); // of the requests, by _id
    this.next = 1;
    this.waiting = new Set();
    this.socket = io(`${url}/?nonce=1923512129`, { forceNew: true, ...options });
    this.socket.on("connect", () => this.heard("connect"));
    for (const event of Object.keys(decoders)) {
      this.socket.on(event, (data) => {
        events++;
        try {
          decoders[event](data);
          if (event === "pool_response") data.data.forEach(entities[this.types.get(data._id)] ?? anything);
        } catch (err) {
          malformed.push(`${event} ${JSON.stringify(data)}: ${err.message}`);
        }
        this.heard(event, data);
      });
    }
  }

  heard(event, data) {
    this.log.push({ event, data });
    for (const look of this.waiting) look();
  }

  // until waits for an event that came at any time, and takes it.
  until(event, fits = () => true) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${event}; there was ${JSON.stringify(this.log)}`)), patience);
      const look = () => {
        const at = this.log.findIndex((h) => h.event === event && fits(h.data));
        if (at < 0) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(this.log.splice(at, 1)[0].data);
      };
      this.waiting.add(look);
      look();
    });
  }

  request(event, type, query) {
    this.next += 2;
    this.types.set(this.next, type);
    this.socket.emit(event, { type, _id: this.next, ...query });
    return this.next;
  }

  // pool resolves to all parts of an answer together, once the last has come.
  async pool(event, type, query) {
    const of = this.request(event, type, query);
    const whole = { data: [], nonexistant: [], parts: 0 };
    for (let last = false; !last; ) {
      const part = await this.until("pool_response", (d) => d._id === of);
      whole.data.push(...part.data);
      whole.nonexistant.push(...part.nonexistant);
      whole.parts++;
      last = part.finished;
    }
    const error = this.log.findIndex((h) => h.event === "error" && h.data._id === of);
    whole.error = error < 0 ? null : this.log.splice(error, 1)[0].data;
    return whole;
  }

  all(type, guildId) {
    return this.pool("pool_all_request", type, guildId && { guildId });
  }

  some(type, ids, guildId) {
    return this.pool("pool_request", type, guildId ? { guildId, ids } : { ids });
  }

  say(guildId, messageId, content, allowedCommands = [], silent = false) {
    this.socket.emit("mock_user_event", { action: 3001, guildId, content, messageId, allowedCommands, silent });
    return this.until("mock_bot_event", (d) => d.guildId === guildId);
  }

  react(action, guildId, messageId, emoji) {
    this.socket.emit("mock_user_event", { action, guildId, messageId, emoji });
    return this.until("mock_bot_event", (d) => d.guildId === guildId);
  }
}

const ids = (answer) => answer.data.map((e) => e.id).sort();
const none = (answer) => assert.deepEqual([answer.data, answer.nonexistant, answer.parts], [[], [], 1]);
const headers = { Origin: origin, Cookie: `theme=dark; token=${token}` };

// signedIn goes through the pages of somebody who is signed in.
async function signedIn(client) {
  const guilds = await client.all("guild");
  assert.deepEqual(ids(guilds), [guild]);
  assert.equal(guilds.error, null);
  const members = await client.all("member", guild);
  assert.ok(members.data.length > 1000 && members.parts > 1, `${members.data.length} in ${members.parts}`);
  for (const type of ["channel", "autoResponse", "customEmoji"]) {
    assert.equal((await client.all(type, guild)).data.length, 2, type);
  }
  const me = ids(members)[0];
  assert.deepEqual(ids(await client.some("member", [me], guild)), [me]);
  assert.deepEqual(ids(await client.some("user", [me])), [me]);
  assert.deepEqual(ids(await client.some("guild", [guild])), [guild]);

  // Several at once, as the dashboard's pools do.
  const [channels, emoji, again] = await Promise.all([
    client.all("channel", guild), client.all("customEmoji", guild), client.some("user", [me, "1111111111111"]),
  ]);
  assert.deepEqual([channels.data.length, emoji.data.length, ids(again), again.nonexistant], [2, 2, [me], ["1111111111111"]]);

  // What it should not have asked.
  assert.deepEqual((await client.some("channel", ["7777777"], foreign)).nonexistant, ["7777777"]);
  none(await client.all("member", foreign));
  assert.deepEqual((await client.some("guild", [foreign])).nonexistant, [foreign]);
  for (const [code, answer] of [
    [400, await client.some("user", ["x"])],
    [400, await client.some("member", [[]], guild)],
    [400, await client.all("setting", guild)],
    [400, await client.all("member")],
    [413, await client.some("user", Array.from({ length: 20_000 }, (_, i) => `${10_000_000 + i}`))],
  ]) {
    none(answer);
    assert.equal(answer.error?.code, code);
  }
}

// chat goes through the front page's mock chat, which needs nobody to be signed in.
async function chat(client, mock) {
  const [set] = (await client.say(mock, 2, "!set hi::[:owl:] hey", ["set", "remove", "poll"])).actions;
  assert.equal(set.action, 3001);
  assert.equal(set.messageId % 2, 1);
  const said = (await client.say(mock, 4, "hi")).actions;
  assert.deepEqual(said.map((a) => a.action).sort(), [3001, 3100]);
  assert.deepEqual((await client.say(mock, 6, "!set quiet::x", ["set"], true)).actions, []);
  const poll = (await client.say(mock, 8, "!xpoll title, a, b", ["xpoll"])).actions;
  const { messageId } = poll.find((a) => a.action === 3001);
  const [first, second] = poll.filter((a) => a.action === 3100).map((a) => a.emoji);
  const kinds = async (answer) => (await answer).actions.map((a) => a.action).sort();
  assert.deepEqual(await kinds(client.react(3100, mock, messageId, first)), [3002]);
  assert.deepEqual(await kinds(client.react(3100, mock, messageId, second)), [3002, 3101]);
  assert.deepEqual(await kinds(client.react(3101, mock, messageId, second)), [3002]);
  client.socket.emit("mock_user_event", { action: 3001, guildId: 20_000_000, messageId: 2, content: "x" });
  assert.equal((await client.until("error")).code, 400);
}

const page = new Client({ extraHeaders: headers });
await page.until("connect");
assert.equal((await page.until("elevation_return")).message, "success");
await signedIn(page);
await chat(page, 4211);
const transport = page.socket.io.engine.transport.name;

// The connection breaks, and the client comes back by itself.
page.socket.io.engine.close();
await page.until("connect");
await page.until("elevation_return");
assert.equal((await page.all("channel", guild)).data.length, 2);

// The token expires, the API has renewed the cookie, and the gateway is told nothing of that.
for (let life = 4; ; life *= 2) {
  const short = jwt.sign({ sub: "214037134477230080", guilds: { [guild]: 0 } }, secret, { expiresIn: life });
  const cookies = { ...headers, Cookie: `token=${short}` };
  const renewed = new Client({ extraHeaders: cookies });
  const { success } = await renewed.until("request_elevation_return");
  if (success) {
    cookies.Cookie = headers.Cookie;
    await renewed.until("connect");
    await renewed.until("elevation_return");
    await renewed.until("connect"); // by itself
    await renewed.until("elevation_return");
    assert.equal((await renewed.all("channel", guild)).data.length, 2);
  }
  renewed.socket.close();
  if (success) break; // else this machine took longer to connect than the token lives
}

// Nobody is signed in, or the cookie is of no use.
for (const [cookie, from] of [["theme=dark", origin], ["token=garbage", origin], [`token=${token}`, undefined]]) {
  const anonymous = new Client({ extraHeaders: { Cookie: cookie, ...(from && { Origin: from }) } });
  await anonymous.until("connect");
  const answer = await anonymous.all("guild");
  none(answer);
  assert.equal(answer.error.code, 409);
  await chat(anonymous, 4213);
  assert.ok(!anonymous.log.some((h) => h.event === "elevation_return"));
  anonymous.socket.close();
}
page.socket.close();

assert.deepEqual(malformed, []);
console.log(JSON.stringify({ events, transport }));
