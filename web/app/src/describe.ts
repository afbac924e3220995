// Puts guild events into words. The payloads are those of the demo's bot: guildcast passes on whatever a bot publishes.

import { actionKind, type Kind } from './policy';

/** A piece of a sentence: text, somebody or something to be named, or what people wrote. */
export type Part = string | { person: string } | { account: string } | { channel: string } | { role: string } | { emoji: string } | { quote: string } | { code: string };

export interface Described {
  kind: Kind;
  parts: Part[];
  private: boolean;
}

/** A log entry, as the bot writes it. */
export interface Action {
  id: string;
  action_number: number;
  private: boolean;
  reversible: boolean;
  agent_id: string | null;
  subject_id: string | null;
  discord_object?: { channel_id?: string } | null;
  data?: Record<string, unknown> | null;
}

/** A change of entities. */
export interface Update {
  type: string;
  changed?: string;
  data: Record<string, unknown>[];
  nonexistent?: string[];
}

export function asAction(payload: unknown): Action | undefined {
  const a = payload as Partial<Action> | null;
  return typeof a === 'object' && a && typeof a.action_number === 'number' ? (a as Action) : undefined;
}

export function asUpdate(payload: unknown): Update | undefined {
  const u = payload as Partial<Update> | null;
  return typeof u === 'object' && u && typeof u.type === 'string' && Array.isArray(u.data) ? (u as Update) : undefined;
}

export function describe(name: string, payload: unknown): Described {
  const action = asAction(payload);
  if (action) return { kind: actionKind(action.action_number), parts: ofAction(action), private: action.private };
  const update = asUpdate(payload);
  if (update) return { kind: updateKinds[update.type] ?? 'guild', parts: ofUpdate(update), private: false };
  return { kind: otherKinds[name] ?? 'guild', parts: ofOther(name, payload), private: false };
}

const updateKinds: Record<string, Kind> = {
  guild: 'guild', user: 'member', member: 'member', channel: 'channel', role: 'role', customEmoji: 'emoji',
  autoResponse: 'autoResponse', settingValue: 'setting',
};

const otherKinds: Record<string, Kind> = { presence: 'member', now_playing: 'guild' };

const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value));

function ofAction(a: Action): Part[] {
  const who: Part = a.agent_id ? { person: a.agent_id } : 'Somebody';
  const whom: Part = a.subject_id ? { person: a.subject_id } : 'somebody';
  const d = a.data ?? {};
  const before = text(d.before);
  const after = text(d.after);
  const place: Part[] = a.discord_object?.channel_id ? [' in ', { channel: a.discord_object.channel_id }] : [];
  const because: Part[] = d.reason ? [': ', { quote: text(d.reason) }] : [];
  switch (a.action_number) {
    case 1: return ['The server’s boosts went from ', { code: before }, ' to ', { code: after }];
    case 11: return [who, ' renamed ', { code: `#${before}` }, ' to ', { code: `#${after}` }];
    case 20: return [who, ' kicked ', whom, ...because];
    case 22: return [who, ' banned ', whom, ...because];
    case 23: return [who, ' lifted the ban of ', whom];
    case 24: {
      const account: Part = a.agent_id ? { account: a.agent_id } : who; // the nick is what this is about
      if (!after) return [account, ' dropped their nick ', { quote: before }];
      if (!before) return [account, ' took the nick ', { quote: after }];
      return [account, ' changed their nick from ', { quote: before }, ' to ', { quote: after }];
    }
    case 26: return [who, ' moved ', whom, ' to another voice channel'];
    case 27: return [who, ' disconnected ', whom, ' from voice'];
    case 31: return [who, ' changed who has ', a.subject_id ? { role: a.subject_id } : 'a role', ` (${before} → ${after})`];
    case 40: return [who, ' made the invite ', { code: text(d.code) }];
    case 41: return [who, ' changed the invite ', { code: text(d.code) }];
    case 42: return [who, ' took back the invite ', { code: text(d.code) }];
    case 50: return [who, ' made the webhook ', { quote: text(d.name) }];
    case 51: return [who, ' changed the webhook ', { quote: text(d.name) }];
    case 52: return [who, ' removed the webhook ', { quote: text(d.name) }];
    case 72: return [who, ' deleted a message by ', whom, ...place, ': ', { quote: text(d.content) }];
    case 81: return [who, ' changed an integration from ', { code: before }, ' to ', { code: after }];
    case 2001: return [who, ' joined the server'];
    case 2002: return [d.name ? { code: text(d.name) } : who, ' left the server'];
    case 2004: return [who, ' edited a message', ...place, ': ', { quote: before }, ' became ', { quote: after }];
    case 2009: return [who, ' used the command ', { code: text(d.command) }];
    case 3001: return [who, ' wrote', ...place, ': ', { quote: text(d.content) }];
    case 3100: return [who, ` reacted with ${text(d.emoji)}`, ...place];
    case 3101: return [who, ` took back ${text(d.emoji)}`, ...place];
    case 3200: return [who, ' set the auto response ', { quote: text(d.trigger) }];
    case 3202: return [who, ' removed the auto response ', { quote: text(d.trigger) }];
    case 3300:
    case 3301: return [who, ' changed the setting ', { quote: text(d.setting) }, ' for ', whom];
    case 3401: return [a.subject_id ? { emoji: a.subject_id } : 'An emoji', ` was used for the ${ordinal(Number(d.after))} time`];
    default: return [who, ` did something that this page has no words for (${a.action_number})`];
  }
}

export function ordinal(n: number): string {
  const tens = n % 100;
  const suffix = tens > 10 && tens < 14 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${suffix}`;
}

/** What the bot says has changed, in words, after the name of what it is about. */
const changes: Record<string, string> = {
  'member joined': ' became a member', 'member nick': ' goes by another nick', 'member roles': ' got other roles',
  'member name': ' goes by another name', 'user joined': ' is new to the bot', 'user name': ' renamed their account',
  'channel name': ' is the new name of a channel', 'role members': ' has other members now',
  'guild boosts': ' has another number of boosts',
};

function ofUpdate(u: Update): Part[] {
  const parts: Part[] = [];
  for (const e of u.data.slice(0, 3)) {
    if (parts.length) parts.push(', ');
    parts.push(...ofEntity(u, e));
  }
  for (const id of (u.nonexistent ?? []).slice(0, 3)) {
    if (parts.length) parts.push(', ');
    parts.push(...(u.type === 'member' ? [{ person: id }, ' stopped being a member'] : [`${gone[u.type] ?? 'Something'} was removed`]));
  }
  return parts.length ? parts : ['Nothing changed'];
}

const gone: Record<string, string> = {
  user: 'An account', channel: 'A channel', role: 'A role', customEmoji: 'An emoji', autoResponse: 'An auto response',
  settingValue: 'A setting', guild: 'The server',
};

function ofEntity(u: Update, e: Record<string, unknown>): Part[] {
  const words = changes[`${u.type} ${u.changed ?? ''}`];
  switch (u.type) {
    case 'member': return [{ code: text(e.nick || e.name) }, words ?? ' was updated'];
    case 'user': return [{ code: text(e.username) }, words ?? ' was updated'];
    case 'channel': return [{ code: `#${text(e.name)}` }, words ?? ' was updated'];
    case 'role': return [{ code: `@${text(e.name)}` }, words ?? ' was updated'];
    case 'guild': return [{ code: text(e.name) }, words ?? ' was updated'];
    case 'customEmoji': return ['The count of ', { code: `:${text(e.name)}:` }, ` went to ${text(e.numUses)}`];
    case 'autoResponse':
      return u.changed === 'added' ? ['A new auto response: ', { quote: text(e.trigger) }]
        : ['The bot answered ', { quote: text(e.trigger) }, ` for the ${ordinal(Number(e.count))} time`];
    case 'settingValue': return ['The setting ', { code: text(e.id) }, ' is now ', { code: JSON.stringify(e.value) }];
    default: return [{ code: text(e.name ?? e.id) }, ' was updated'];
  }
}

function ofOther(name: string, payload: unknown): Part[] {
  const p = (payload ?? {}) as Record<string, unknown>;
  if (name === 'now_playing') return ['The bot is playing ', { quote: text(p.title) }];
  if (name === 'presence') return [{ person: text(p.id) }, p.online ? ' came online' : ' went offline'];
  return [`${name.replaceAll('_', ' ')} happened`];
}
