// What guildcast's default policy asks for. The node decides; the page only says why something is not there.

/** From the lowest bit. */
const permissionNames = [
  'ADMINISTRATOR', 'VIEW_PUBLIC_LOGS', 'VIEW_PRIVATE_LOGS', 'REVERT_LOG_ACTIONS', 'ADD_AUTO_RESPONSE',
  'IGNORE_AUTO_RESPONSE_QUOTA', 'EDIT_ANY_AUTO_RESPONSE', 'DELETE_ANY_AUTO_RESPONSE', 'VIEW_SETTINGS', 'MANAGE_SETTINGS',
  'EXEC_PURGE_CMD',
] as const;

export type Permission = (typeof permissionNames)[number];

export const permissions: readonly Permission[] = permissionNames;

/** What a permission lets its bearer do, for people. */
export const meaning: Record<Permission, string> = {
  ADMINISTRATOR: 'Everything in this server',
  VIEW_PUBLIC_LOGS: 'See the public log',
  VIEW_PRIVATE_LOGS: 'See private log entries and moderation',
  REVERT_LOG_ACTIONS: 'Undo what the log shows',
  ADD_AUTO_RESPONSE: 'Add auto responses',
  IGNORE_AUTO_RESPONSE_QUOTA: 'Add any number of auto responses',
  EDIT_ANY_AUTO_RESPONSE: 'Edit anybody’s auto responses',
  DELETE_ANY_AUTO_RESPONSE: 'Delete anybody’s auto responses',
  VIEW_SETTINGS: 'See the settings',
  MANAGE_SETTINGS: 'Change the settings',
  EXEC_PURGE_CMD: 'Purge messages',
};

/** The permissions whose bits are set; all of them for an administrator. */
export function held(bits: number): Set<Permission> {
  if (bits % 2 === 1) return new Set(permissionNames);
  return new Set(permissionNames.filter((_, i) => Math.floor(bits / 2 ** i) % 2 === 1));
}

export const kinds = [
  'message', 'reaction', 'member', 'moderation', 'channel', 'role', 'emoji', 'autoResponse', 'setting', 'invite', 'integration',
  'guild',
] as const;

/** A kind of event, as the page sorts them. */
export type Kind = (typeof kinds)[number];

export const kindLabel: Record<Kind, string> = {
  message: 'Messages', reaction: 'Reactions', member: 'Members', moderation: 'Moderation', channel: 'Channels', role: 'Roles',
  emoji: 'Emoji', autoResponse: 'Auto responses', setting: 'Settings', invite: 'Invites', integration: 'Integrations',
  guild: 'Server',
};

/** The kinds of log actions: [first number, last number, kind, permission]. */
const actions: readonly (readonly [number, number, Kind, Permission | null])[] = [
  [1, 1, 'guild', null], [10, 15, 'channel', null], [20, 23, 'moderation', 'VIEW_PRIVATE_LOGS'], [24, 25, 'member', null],
  [26, 27, 'moderation', 'VIEW_PRIVATE_LOGS'], [28, 28, 'integration', 'VIEW_PUBLIC_LOGS'], [30, 32, 'role', null],
  [40, 42, 'invite', 'VIEW_PUBLIC_LOGS'], [50, 52, 'integration', 'VIEW_PUBLIC_LOGS'], [60, 62, 'emoji', null],
  [72, 75, 'message', 'VIEW_PUBLIC_LOGS'], [80, 82, 'integration', 'VIEW_PUBLIC_LOGS'], [2000, 2000, 'guild', null],
  [2001, 2002, 'member', null], [2003, 2005, 'message', 'VIEW_PUBLIC_LOGS'], [2006, 2008, 'reaction', 'VIEW_PUBLIC_LOGS'],
  [2009, 2009, 'integration', 'VIEW_PUBLIC_LOGS'], [3001, 3003, 'message', 'VIEW_PUBLIC_LOGS'],
  [3100, 3101, 'reaction', 'VIEW_PUBLIC_LOGS'], [3200, 3203, 'autoResponse', null],
  [3300, 3301, 'moderation', 'ADMINISTRATOR'], [3400, 3403, 'emoji', null],
];

export function actionKind(number: number): Kind {
  return actions.find(([first, last]) => number >= first && number <= last)?.[2] ?? 'guild';
}

/** An event in so far as it decides who gets it. */
export interface Guarded {
  logs: boolean; // of the guild's log
  number?: number | undefined; // of the log action
  type?: string | undefined; // of the entities
  private?: boolean | undefined;
}

/**
 * The permission that somebody lacks who did not get an event; undefined if it can't be told, as of changes of settings
 * that only some may see.
 */
export function lacking(e: Guarded, has: ReadonlySet<Permission>): Permission | undefined {
  const logs = has.has('VIEW_PUBLIC_LOGS') || has.has('VIEW_PRIVATE_LOGS');
  if (e.logs && !logs) return 'VIEW_PUBLIC_LOGS';
  if (e.private && !has.has('VIEW_PRIVATE_LOGS')) return 'VIEW_PRIVATE_LOGS';
  const needed = actions.find(([first, last]) => e.number !== undefined && e.number >= first && e.number <= last)?.[3];
  if (needed && !has.has(needed)) return needed;
  if (e.type === 'settingValue') return has.has('VIEW_SETTINGS') ? 'MANAGE_SETTINGS' : 'VIEW_SETTINGS';
  return undefined;
}
