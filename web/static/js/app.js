import { Chat } from './chat.js';
import { Column } from './column.js';
import { Ledger } from './ledger.js';
import { Pools } from './pool.js';
import { Session } from './session.js';
import { Tabs } from './tabs.js';
import { throttled } from './dom.js';

async function accounts(life = 3600) {
  const response = await fetch(`/demo/accounts.json?life=${life}`, { cache: 'no-store' });
  if (!response.ok) throw new Error(`the accounts could not be had (${response.status})`);
  return response.json();
}

async function start() {
  const { guild_id: guildID, path, accounts: list } = await accounts();
  const sessions = list.map((account) => new Session(account, guildID, path, async (life) => {
    const fresh = await accounts(life);
    return fresh.accounts.find((a) => a.key === account.key);
  }));
  const columns = sessions.map((session, i) => new Column(session, i));
  document.getElementById('columns').append(...columns.map((c) => c.root));
  new Tabs([
    ...list.map((a) => ({ view: a.key, label: a.name })),
    { view: 'pool', label: 'Pools' },
    { view: 'chat', label: 'Chat' },
  ]);

  const ledger = new Ledger(columns);
  let events = 0;
  const totals = document.getElementById('totals');
  const showTotals = throttled(() => {
    totals.textContent = `${events.toLocaleString()} events delivered`;
  }, 500);
  new Pools(sessions, guildID);
  new Chat(path);
  sessions.forEach((session, i) => {
    session.addEventListener('guildevent', ({ detail: { name, payload, replayed } }) => {
      columns[i].event(name, payload, replayed);
      if (!replayed) ledger.record(columns[i], name, payload); // the others had it before
      events++;
      showTotals();
    });
    // Everybody spectates at once; logs are asked for where they may be had.
    session.wanted = { logs: list[i].key !== 'member' };
    session.connect();
  });
  setInterval(() => columns.forEach((c) => c.tick()), 1000);

}

start().catch((e) => {
  const failure = document.getElementById('failure');
  failure.textContent = `The demo could not start: ${e.message}`;
  failure.hidden = false;
});
