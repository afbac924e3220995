// Puts guild events into words.

const icons = {
  guild: '🏛️', channel: '📺', role: '🎭', member: '👤', user: '👤', customEmoji: '😺', autoResponse: '💬', settingValue: '⚙️',
  message: '✉️', reaction: '👍', invite: '🎟️', webhook: '🪝', integration: '🔌', interaction: '⌨️', moderation: '🔨',
  administrator: '🛡️', emoji: '😺', auto_response: '💬', other: '•',
};

// The kinds of log actions, as the default policy has them: [first, last, kind].
const kinds = [
  [1, 1, 'guild'], [10, 15, 'channel'], [20, 23, 'moderation'], [24, 25, 'member'], [26, 27, 'moderation'],
  [28, 28, 'integration'], [30, 32, 'role'], [40, 42, 'invite'], [50, 52, 'webhook'], [60, 62, 'emoji'], [72, 75, 'message'],
  [80, 82, 'integration'], [2000, 2000, 'guild'], [2001, 2002, 'member'], [2003, 2005, 'message'], [2006, 2008, 'reaction'],
  [2009, 2009, 'interaction'], [3001, 3003, 'message'], [3100, 3101, 'reaction'], [3200, 3203, 'auto_response'],
  [3300, 3301, 'administrator'], [3400, 3403, 'emoji'],
];

const verbs = {
  1: 'changed the guild', 11: 'renamed channel', 20: 'kicked', 22: 'banned', 23: 'unbanned', 24: 'changed their nick', 26: 'moved',
  27: 'disconnected', 31: 'changed role', 40: 'made an invite', 41: 'changed an invite', 42: 'took back an invite',
  50: 'made a webhook', 51: 'changed a webhook', 52: 'removed a webhook', 72: 'removed a message of', 81: 'changed an integration',
  2001: 'joined', 2002: 'left', 2004: 'edited a message', 2009: 'used', 3001: 'wrote', 3100: 'reacted', 3101: 'took back a reaction',
  3200: 'set an auto response', 3202: 'removed an auto response', 3300: 'changed a bot setting of', 3301: 'changed a bot setting of',
  3401: 'used an emoji',
};

const aboutSubject = new Set([11, 20, 22, 23, 26, 27, 31, 72, 3300, 3301]);

/**
 * What to show of an event: {icon, kind, parts, private}, where parts are text, {id} for somebody to be named, and
 * {quote} for what people wrote.
 */
export function describe(name, payload) {
  if (payload && typeof payload === 'object') {
    if (Array.isArray(payload.data) && payload.type) return update(payload);
    if (payload.action_number) return action(payload);
  }
  const title = payload?.title ? [{ quote: payload.title }] : [];
  return { icon: icons.other, kind: name, parts: [name.replaceAll('_', ' '), ' ', ...title], private: false };
}

const words = { customEmoji: 'emoji', autoResponse: 'auto response', settingValue: 'setting' };

function update(p) {
  const nameOf = (e) => e.nick || e.name || e.username || e.trigger || e.id;
  const parts = [];
  for (const e of p.data.slice(0, 3)) {
    parts.push({ quote: nameOf(e) }, detail(p.type, e), ' ');
  }
  for (const id of (p.nonexistent ?? []).slice(0, 3)) parts.push({ id }, ' gone ');
  return { icon: icons[p.type] ?? icons.other, kind: p.type, parts: [`${words[p.type] ?? p.type} `, ...parts], private: false };
}

function detail(type, e) {
  switch (type) {
    case 'settingValue': return ` is ${JSON.stringify(e.value)}`;
    case 'autoResponse': return `, used ${e.count}×`;
    case 'customEmoji': return `, used ${e.numUses}×`;
    case 'role': return `, ${e.members?.length ?? 0} members`;
    default: return '';
  }
}

function action(a) {
  const kind = kinds.find(([from, to]) => a.action_number >= from && a.action_number <= to)?.[2] ?? 'other';
  const parts = [a.agent_id ? { id: a.agent_id } : 'somebody', ' ', verbs[a.action_number] ?? `did ${a.action_number}`];
  if (aboutSubject.has(a.action_number) && a.subject_id) parts.push(' ', { id: a.subject_id });
  const d = a.data ?? {};
  const said = d.content ?? d.emoji ?? d.command ?? d.reason ?? d.code ?? d.trigger;
  if (said) parts.push(' ', { quote: String(said) });
  else if ('after' in d) parts.push(' ', { quote: String(d.before ?? '–') }, ' → ', { quote: String(d.after ?? '–') });
  return { icon: icons[kind] ?? icons.other, kind, parts, private: Boolean(a.private) };
}
