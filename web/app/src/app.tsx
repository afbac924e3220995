import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { demo as fetchDemo, type Demo } from './accounts';
import { address, route } from './route';
import { Shell } from './shell';
import { sessionOf } from './session';
import { useStore } from './store';
import { Failure } from './ui/bits';
import { Picker } from './views/picker';

/** The page: whom to be, and then the dashboard as that user. */
export function App(): JSX.Element {
  const [demo, setDemo] = useState<Demo | null>(null);
  const [error, setError] = useState<unknown>(null);
  const { user, view } = useStore(route);

  const load = (): void => {
    setError(null);
    fetchDemo(3600).then(setDemo, setError);
  };
  useEffect(load, []);

  const account = demo?.accounts.find((a) => a.key === user);
  useEffect(() => {
    document.title = account ? `${account.name} · guildcast demo` : 'guildcast demo';
  }, [account]);

  if (error) return <main class="picker"><Failure title="The demo could not be loaded" error={error} retry={load} /></main>;
  if (!demo || !account) return <Picker demo={demo} choose={(key) => { location.hash = address(key, view); }} />;
  return <Shell key={account.key} session={sessionOf(account, demo)} demo={demo} view={view} />;
}
