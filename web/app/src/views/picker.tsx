import type { JSX } from 'preact';
import type { Account, Demo } from '../accounts';
import { meaning, permissions } from '../policy';
import { Avatar } from '../ui/bits';
import { Icon } from '../ui/icon';

const shown = permissions.filter((p) => ['VIEW_PUBLIC_LOGS', 'VIEW_PRIVATE_LOGS', 'VIEW_SETTINGS', 'ADD_AUTO_RESPONSE', 'ADMINISTRATOR'].includes(p));

/** Whom to be. */
export function Picker({ demo, choose }: { demo: Demo | null; choose: (key: string) => void }): JSX.Element {
  return (
    <main class="picker">
      <header class="picker-head">
        <img src="/icon.svg" alt="" width="44" height="44" />
        <h1>Whose eyes would you like to see through?</h1>
        <p>
          One server, three people, three sets of permissions. Each sees what their token permits, live, and nothing else.
        </p>
      </header>
      <ul class="picker-cards">
        {(demo?.accounts ?? [null, null, null]).map((account, i) => (
          <li key={account?.key ?? i}>{account ? <Card account={account} choose={choose} /> : <div class="card card-blank skeleton"><span class="bone" /></div>}</li>
        ))}
      </ul>
      <p class="picker-foot">A guildcast demo: the server, its people and its events are invented.</p>
    </main>
  );
}

function Card({ account, choose }: { account: Account; choose: (key: string) => void }): JSX.Element {
  return (
    <button type="button" class="card picker-card" onClick={() => choose(account.key)}>
      <span class="picker-who">
        <Avatar id={account.user_id} name={account.name} size={40} />
        <span>
          <span class="picker-name">{account.name}</span>
          <span class="quiet">{account.role}</span>
        </span>
        <Icon name="arrow" />
      </span>
      <span class="picker-rights">
        {shown.map((p) => (
          <span key={p} class="right" data-held={account.permissions.has(p)}>
            <Icon name={account.permissions.has(p) ? 'check' : 'lock'} size={14} />
            {meaning[p]}
            {!account.permissions.has(p) && <span class="visually-hidden"> (not permitted)</span>}
          </span>
        ))}
      </span>
    </button>
  );
}
