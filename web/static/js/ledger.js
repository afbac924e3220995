const settle = 800; // ms that an event has to reach every column

/** Compares what the columns got, to show in each what it did not get. */
export class Ledger {
  constructor(columns) {
    this.columns = columns;
    this.open = new Map(); // fingerprint to the columns that have it
  }

  record(column, name, payload) {
    const key = `${name} ${JSON.stringify(payload)}`;
    const seen = this.open.get(key);
    if (seen) {
      seen.add(column);
      return;
    }
    this.open.set(key, new Set([column]));
    const at = performance.now();
    setTimeout(() => this.close(key, name, at), settle);
  }

  close(key, name, at) {
    const seen = this.open.get(key);
    this.open.delete(key);
    for (const column of this.columns) {
      const { spectating } = column.session;
      if (seen.has(column) || !spectating || spectating.since > at) continue;
      column.withheld(name === 'log_other' && !spectating.logs ? 'of logs that were not asked for' : 'not for this user');
    }
  }
}
