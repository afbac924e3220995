import { held, type Permission } from './policy';

/** A demo user. */
export interface Account {
  key: string;
  name: string;
  role: string;
  user_id: string;
  token: string;
  expires_at: number; // Unix seconds
  permissions: ReadonlySet<Permission>;
}

/** What the node says of its demo. */
export interface Demo {
  guild_id: string;
  path: string; // of the Socket.IO server
  accounts: Account[];
}

/** The demo, with a token for each user that is good for so many seconds. */
export async function demo(life: number): Promise<Demo> {
  const answer = await fetch(`/demo/accounts.json?life=${life}`, { cache: 'no-store' });
  if (!answer.ok) throw new Error(`The node gave no demo users (${answer.status}).`);
  const d = (await answer.json()) as Demo;
  return { ...d, accounts: d.accounts.map((a) => ({ ...a, permissions: held(bitsIn(a.token, d.guild_id)) })) };
}

/** A fresh token for a demo user. */
export async function mint(key: string, life: number): Promise<Account> {
  const account = (await demo(life)).accounts.find((a) => a.key === key);
  if (!account) throw new Error('There is no such demo user.');
  return account;
}

/** The permission bits that a token gives in a guild. It is read, not verified: that is the node's part. */
function bitsIn(token: string, guildID: string): number {
  const text = atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'));
  const claims = JSON.parse(text) as { permissions?: number; guilds?: Record<string, number> };
  return (claims.permissions ?? 0x112) | (claims.guilds?.[guildID] ?? 0);
}
