import { Store } from './store';

export type Theme = 'light' | 'dark';

const key = 'guildcast-theme';
const system = matchMedia('(prefers-color-scheme: dark)');

/** The theme that was chosen, or else the system's. */
export const theme = new Store<Theme>(current());

function current(): Theme {
  const chosen = localStorage.getItem(key);
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return system.matches ? 'dark' : 'light';
}

function show(): void {
  document.documentElement.dataset.theme = theme.getSnapshot();
}

export function toggleTheme(): void {
  localStorage.setItem(key, theme.getSnapshot() === 'dark' ? 'light' : 'dark');
  theme.set(current());
}

theme.subscribe(show);
system.addEventListener('change', () => theme.set(current()));
show();
