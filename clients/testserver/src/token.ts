import { createHmac } from "node:crypto";
import type { PermissionName } from "@guildcast/server";

/** Permissions in a guild: bits, or their names. */
export type Permissions = number | PermissionName[];

/** What a token says. */
export interface Claims {
  /** The user's id. */
  user: string;
  /** The guilds of the user, with the permissions there. */
  guilds?: Record<string, Permissions>;
  /** Permissions in every guild; those of an ordinary member (274) if they are left out. */
  permissions?: Permissions;
  /** A member of every guild, with every permission. */
  architusAdmin?: boolean;
  /** A name to revoke the token by. */
  id?: string;
  /** In seconds; an hour if it is left out. */
  lasts?: number;
}

const names: PermissionName[] = [
  "ADMINISTRATOR", "VIEW_PUBLIC_LOGS", "VIEW_PRIVATE_LOGS", "REVERT_LOG_ACTIONS", "ADD_AUTO_RESPONSE",
  "IGNORE_AUTO_RESPONSE_QUOTA", "EDIT_ANY_AUTO_RESPONSE", "DELETE_ANY_AUTO_RESPONSE", "VIEW_SETTINGS",
  "MANAGE_SETTINGS", "EXEC_PURGE_CMD",
];

function bits(permissions: Permissions): number {
  if (typeof permissions === "number") return permissions;
  return permissions.reduce((all, name) => {
    const bit = names.indexOf(name);
    if (bit < 0) throw new TypeError(`there is no permission ${name}`);
    return all | (1 << bit);
  }, 0);
}

/** Mints a token (HS256). */
export function mint(secret: string, claims: Claims): string {
  const now = Math.floor(Date.now() / 1000);
  const guilds = Object.fromEntries(Object.entries(claims.guilds ?? {}).map(([id, p]) => [id, bits(p)]));
  const payload = {
    sub: claims.user, iat: now, exp: now + (claims.lasts ?? 3600), guilds,
    ...(claims.permissions !== undefined && { permissions: bits(claims.permissions) }),
    ...(claims.architusAdmin && { architus_admin: true }),
    ...(claims.id !== undefined && { jti: claims.id }),
  };
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(payload)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}
