import type { PermissionBits } from "./protocol.js";

/** The bits of a user in a guild, from the lowest. */
export const permissions = {
  ADMINISTRATOR: 0x1, VIEW_PUBLIC_LOGS: 0x2, VIEW_PRIVATE_LOGS: 0x4, REVERT_LOG_ACTIONS: 0x8, ADD_AUTO_RESPONSE: 0x10,
  IGNORE_AUTO_RESPONSE_QUOTA: 0x20, EDIT_ANY_AUTO_RESPONSE: 0x40, DELETE_ANY_AUTO_RESPONSE: 0x80, VIEW_SETTINGS: 0x100,
  MANAGE_SETTINGS: 0x200, EXEC_PURGE_CMD: 0x400,
} as const;

export type Permission = keyof typeof permissions;

/** Reports whether bits hold all of these permissions; an administrator has every one. */
export function can(bits: PermissionBits, ...wanted: Permission[]): boolean {
  return has(bits, permissions.ADMINISTRATOR) || wanted.every((name) => has(bits, permissions[name]));
}

/** Returns the names of the permissions that bits hold. */
export function permissionNames(bits: PermissionBits): Permission[] {
  return (Object.keys(permissions) as Permission[]).filter((name) => can(bits, name));
}

/** Reports whether some bit of before is missing in now. */
export function lost(before: PermissionBits, now: PermissionBits): boolean {
  return (BigInt(before) & ~BigInt(now)) !== 0n;
}

function has(bits: PermissionBits, bit: number): boolean {
  return Math.floor(bits / bit) % 2 === 1; // bits may be beyond the 32 that & has
}
