import type { Position } from "./protocol.js";

/**
 * Compares two positions: below 0 if a is earlier. A position is the id of a stream entry, two whole numbers with a
 * dash between them. Both may be beyond what a number holds exactly, so they are compared as text, the longer one is
 * later.
 */
export function comparePositions(a: Position, b: Position): number {
  if (a === b) return 0;
  const [a1, a2] = halves(a);
  const [b1, b2] = halves(b);
  return compareDigits(a1, b1) || compareDigits(a2, b2);
}

/** Returns the later one; null is before all. */
export function later(a: Position | null, b: Position | null): Position | null {
  if (a === null || b === null) return a ?? b;
  return comparePositions(a, b) >= 0 ? a : b;
}

function halves(p: Position): [string, string] {
  const dash = p.indexOf("-");
  return dash < 0 ? [p, "0"] : [p.slice(0, dash), p.slice(dash + 1)];
}

function compareDigits(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
