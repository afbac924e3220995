import { GuildcastError, type AutoResponse, type Channel, type CustomEmoji, type EntityType, type Member, type Role, type SettingValue, type User } from '@guildcast/client';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Permission } from '../policy';
import type { View } from '../route';
import type { Session } from '../session';
import { useStore } from '../store';
import { Avatar, Empty, Failure, plural, Skeleton, Tag } from '../ui/bits';
import { Icon, type IconName } from '../ui/icon';
import { useNarrow, VirtualList } from '../ui/list';

/** What a list of entities shows of each. */
interface Shown {
  id: string;
  sort: string | number;
  text: string; // that is searched
  mark: JSX.Element;
  title: string;
  sub: string;
  end?: ComponentChildren;
  facts: [string, ComponentChildren][];
}

interface Listing {
  type: EntityType;
  icon: IconName;
  what: [string, string]; // one, many
  needs?: Permission;
  hint: string;
  show: (e: never, session: Session) => Shown;
}

const glyph = (icon: IconName): JSX.Element => <span class="kind"><Icon name={icon} /></span>;

const listings: Partial<Record<View, Listing>> = {
  members: {
    type: 'member', icon: 'member', what: ['member', 'members'], hint: 'Find a member: zoe, jurgen, francoise',
    show: (m: Member, s) => {
      const user: User | undefined = s.view.entities.get('user', m.id);
      const roles = m.roles.map((id) => s.view.entities.get('role', id)).filter((r) => r !== undefined)
        .sort((a, b) => b.position - a.position);
      const name = m.nick || m.name;
      return {
        id: m.id, sort: name.toLocaleLowerCase(), text: `${name} ${m.name}`, title: name,
        mark: <Avatar id={m.id} name={name} size={28} />,
        sub: m.nick ? m.name : '',
        end: <>{user?.bot && <Tag tone="accent">bot</Tag>}{roles.slice(0, 2).map((r) => <RoleTag key={r.id} role={r} />)}</>,
        facts: [
          ['Account', `${user?.username ?? m.name}#${m.discriminator}`], ['Nick', m.nick ?? '–'],
          ['Joined', new Date(m.joined_at).toLocaleDateString(undefined, { dateStyle: 'long' })],
          ['Roles', roles.length ? <span class="tags">{roles.map((r) => <RoleTag key={r.id} role={r} />)}</span> : '–'],
          ['Id', <code key="id">{m.id}</code>],
        ],
      };
    },
  },
  channels: {
    type: 'channel', icon: 'channel', what: ['channel', 'channels'], hint: 'Find a channel',
    show: (c: Channel) => ({
      id: c.id, sort: c.name, text: c.name, title: c.name, mark: glyph('channel'), sub: '', facts: [['Id', <code key="id">{c.id}</code>]],
    }),
  },
  roles: {
    type: 'role', icon: 'role', what: ['role', 'roles'], hint: 'Find a role',
    show: (r: Role) => ({
      id: r.id, sort: -r.position, text: r.name, title: r.name, sub: '',
      mark: <span class="swatch" style={{ backgroundColor: r.color }} />,
      end: <span class="quiet">{plural(r.members.length, 'member')}</span>,
      facts: [
        ['Members', r.members.length.toLocaleString('en')], ['Colour', <code key="c">{r.color}</code>], ['Position', r.position],
        ['Shown apart', r.hoist ? 'yes' : 'no'], ['Can be mentioned', r.mentionable ? 'yes' : 'no'], ['Id', <code key="id">{r.id}</code>],
      ],
    }),
  },
  emoji: {
    type: 'customEmoji', icon: 'emoji', what: ['emoji', 'emoji'], hint: 'Find an emoji',
    show: (e: CustomEmoji, s) => ({
      id: e.id, sort: -e.numUses, text: e.name, title: `:${e.name}:`, sub: '', mark: <Avatar id={e.id} name={e.name} size={28} />,
      end: <span class="quiet">used {e.numUses.toLocaleString('en')}×</span>,
      facts: [['Used', `${e.numUses.toLocaleString('en')} times`], ['Added by', s.names.person(e.authorId)], ['Id', <code key="id">{e.id}</code>]],
    }),
  },
  responses: {
    type: 'autoResponse', icon: 'autoResponse', what: ['auto response', 'auto responses'], hint: 'Find by trigger or response',
    show: (r: AutoResponse, s) => ({
      id: r.id, sort: -r.count, text: `${r.trigger} ${r.response}`, title: r.trigger, sub: r.response, mark: glyph('autoResponse'),
      end: <span class="quiet">used {r.count.toLocaleString('en')}×</span>,
      facts: [
        ['Trigger', r.trigger], ['Response', r.response], ['Matches', modes[r.mode] ?? r.mode],
        ['Used', `${r.count.toLocaleString('en')} times`], ['Author', r.authorId ? s.names.person(r.authorId) : 'nobody'],
        ['Id', <code key="id">{r.id}</code>],
      ],
    }),
  },
  settings: {
    type: 'settingValue', icon: 'setting', what: ['setting', 'settings'], needs: 'VIEW_SETTINGS', hint: 'Find a setting',
    show: (v: SettingValue) => ({
      id: v.id, sort: v.id, text: v.id, title: v.id.replaceAll('_', ' '), sub: '', mark: glyph('setting'),
      end: <code class="value">{JSON.stringify(v.value)}</code>, facts: [['Value', <code key="v">{JSON.stringify(v.value)}</code>], ['Id', <code key="id">{v.id}</code>]],
    }),
  },
};

const modes: Record<string, string> = {
  regex: 'by a regular expression', punctuated: 'with its punctuation', naive: 'letters alone, without punctuation',
};

function RoleTag({ role }: { role: Role }): JSX.Element {
  return <span class="tag role-tag"><span class="swatch small" style={{ backgroundColor: role.color }} />{role.name}</span>;
}

/** All entities of one type, kept up to date by the guild's events, with a search. */
export function PoolView({ session, view }: { session: Session; view: View }): JSX.Element {
  const listing = listings[view] as Listing;
  const { needs } = listing;
  useStore(session.client.connection);
  if (needs && !session.permissions.has(needs)) {
    return (
      <div class="pool"><div class="pool-list card">
        <Empty icon="lock" title={`${session.account.name} can’t see the settings`}>Needs {needs}</Empty>
      </div></div>
    );
  }
  return <Pool session={session} listing={listing} view={view} />;
}

function Pool({ session, listing, view }: { session: Session; listing: Listing; view: View }): JSX.Element {
  const { type } = listing;
  const entities = useStore(session.view.entities.of(type)) as ReadonlyMap<string, never>;
  const state = useStore(session.view.state);
  const names = useStore(session.namesVersion);
  const phone = useNarrow(720);
  const [error, setError] = useState<unknown>(null);
  const [text, setText] = useState('');
  const [openID, setOpenID] = useState<string | null>(null);

  const load = (): void => {
    setError(null);
    session.view.load(type).catch(setError);
  };
  useEffect(load, [session, type]);
  useEffect(() => {
    const close = (e: KeyboardEvent): void => { if (e.key === 'Escape') setOpenID(null); };
    addEventListener('keydown', close);
    return () => removeEventListener('keydown', close);
  }, []);

  const found = useSearch(session, type, text);
  const all = useMemo(() => [...entities.values()].map((e) => listing.show(e, session))
    .sort((a, b) => (a.sort < b.sort ? -1 : a.sort > b.sort ? 1 : 0)), [entities, names, listing]);
  const shown = useMemo(() => {
    const query = text.trim().toLocaleLowerCase();
    if (!query) return all;
    if (type === 'member') return (found.members ?? []).map((m) => listing.show((entities.get(m.id) ?? m) as never, session));
    return all.filter((e) => e.text.toLocaleLowerCase().includes(query));
  }, [all, text, found.members, type]);
  const open = openID === null ? undefined : shown.find((e) => e.id === openID);

  const had = useRef(false); // the whole list was there once
  had.current ||= state.loaded.includes(type);
  const loading = !had.current && !error;
  const old = had.current && (state.status === 'waiting' || !state.loaded.includes(type));
  const rowHeight = phone ? 56 : 44;
  const failed = error ?? found.error;
  return (
    <div class="pool" data-open={open !== undefined}>
      <div class="toolbar">
        <label class="search">
          <Icon name="search" />
          <span class="visually-hidden">{listing.hint}</span>
          <input type="search" placeholder={listing.hint} value={text} onInput={(e) => setText(e.currentTarget.value)} autocomplete="off" spellcheck={false} maxLength={100} />
        </label>
        <span class="toolbar-note" role="status">
          {old ? <Tag tone="old">From before the connection was lost</Tag>
            : found.pending ? <span class="quiet">Searching…</span>
              : !loading && <span class="quiet">{plural(shown.length, ...listing.what)}</span>}
        </span>
      </div>
      <div class="pool-body">
        <div class="pool-list card" data-old={old}>
          {failed && shown.length === 0 ? <Failure title={`The ${listing.what[1]} could not be loaded`} error={failed} retry={error ? load : found.retry} />
            : loading ? <Skeleton rows={phone ? 10 : 14} height={rowHeight} />
              : shown.length === 0 && !found.pending ? <Empty icon={listing.icon} title={text ? `No ${listing.what[0]} matches “${text.trim()}”` : `There are no ${listing.what[1]}`} />
                : (
                  <VirtualList id={`pool-${view}`} label={listing.what[1]} count={shown.length} rowHeight={rowHeight} version={names}
                    at={(i) => shown[i] as Shown} keyOf={(e) => e.id} open={(e) => setOpenID(e.id)} openKey={open?.id ?? null}
                    render={(e) => (
                      <>
                        {e.mark}
                        <span class="entity"><b>{e.title}</b>{e.sub && <span class="quiet">{e.sub}</span>}</span>
                        <span class="row-end">{e.end}</span>
                      </>
                    )} />
                )}
        </div>
        {open && (
          <section class="detail card" aria-label={open.title}>
            <header>{open.mark}<h2>{open.title}</h2>
              <button type="button" class="icon-button" aria-label="Close" onClick={() => setOpenID(null)}><Icon name="close" /></button>
            </header>
            <dl class="facts">{open.facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
          </section>
        )}
      </div>
    </div>
  );
}

interface Found {
  members: readonly Member[] | null;
  pending: boolean;
  error: unknown;
  retry?: () => void;
}

/** The members that the node finds, while somebody types. A later search supersedes an earlier one. */
function useSearch(session: Session, type: EntityType, text: string): Found {
  const [found, setFound] = useState<Found>({ members: null, pending: false, error: null });
  const [again, setAgain] = useState(0);
  const turn = useRef(0);
  const query = type === 'member' ? text.trim() : '';
  useEffect(() => {
    const mine = ++turn.current;
    if (!query) {
      setFound({ members: null, pending: false, error: null });
      return undefined;
    }
    setFound((f) => ({ members: f.members, pending: true, error: null }));
    const timer = setTimeout(() => {
      session.client.search({ type: 'member', guild_id: session.demo.guild_id, query, limit: 100 }).then(
        (answer) => { if (mine === turn.current) setFound({ members: answer.data, pending: false, error: null }); },
        (error: unknown) => {
          if (error instanceof GuildcastError && error.word === 'superseded') return;
          if (mine === turn.current) setFound({ members: null, pending: false, error, retry: () => setAgain(again + 1) });
        },
      );
    }, 80);
    return () => clearTimeout(timer);
  }, [session, query, again]);
  return found;
}
