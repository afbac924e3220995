import { Store } from './store';

export const views = [
  'overview', 'log', 'members', 'channels', 'roles', 'emoji', 'responses', 'settings', 'chat', 'compare',
] as const;

export type View = (typeof views)[number];

/** What the page shows: the address is #/user/view. */
export interface Route {
  user: string | null;
  view: View;
}

function parse(): Route {
  const [user, view] = location.hash.replace(/^#\/?/, '').split('/');
  return { user: user || null, view: views.find((v) => v === view) ?? 'overview' };
}

export const route = new Store<Route>(parse());

addEventListener('hashchange', () => route.set(parse()));

export const address = (user: string, view: View): string => `#/${user}/${view}`;
