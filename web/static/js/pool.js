import { el } from './dom.js';

const maxShown = 300;

/** The pool browser: asks as one of the users, and lists what comes. */
export class Pools {
  constructor(sessions, guildID) {
    this.sessions = sessions;
    this.guildID = guildID;
    this.turn = 0; // the latest request; parts of older ones are not shown
    const get = (id) => document.getElementById(id);
    this.as = get('pool-as');
    this.type = get('pool-type');
    this.kind = get('pool-request');
    this.query = get('pool-query');
    this.status = get('pool-status');
    this.results = get('pool-results');
    for (const s of sessions) this.as.append(el('option', { value: s.account.key }, s.account.name));

    get('pool-form').addEventListener('submit', (e) => {
      e.preventDefault();
      this.ask();
    });
    for (const input of [this.type, this.kind]) {
      input.addEventListener('change', () => {
        this.limitChoices();
        this.ask();
      });
    }
    this.as.addEventListener('change', () => this.ask());
    let timer = 0;
    this.query.addEventListener('input', () => {
      this.kind.value = this.query.value.trim() ? 'search' : 'online';
      clearTimeout(timer);
      timer = setTimeout(() => this.ask(), 120);
    });
    this.limitChoices();
    // The first list, as soon as there is somebody to ask as.
    sessions[0].addEventListener('change', () => {
      if (sessions[0].elevated && this.turn === 0) this.ask();
    });
  }

  /** Only members can be searched or online. */
  limitChoices() {
    const members = this.type.value === 'member';
    for (const option of this.kind.options) option.disabled = !members && option.value !== 'all';
    if (!members) this.kind.value = 'all';
    this.query.disabled = !members;
  }

  async ask() {
    const session = this.sessions.find((s) => s.account.key === this.as.value);
    const request = this.kind.value;
    const query = { type: this.type.value, request };
    if (query.type !== 'guild') query.guild_id = this.guildID;
    if (request === 'search') {
      query.query = this.query.value.trim();
      query.limit = 50;
      if (!query.query) {
        this.say('Type a name. Case and accents do not matter, and a slip of the finger is forgiven.');
        this.query.focus();
        this.results.replaceChildren();
        return;
      }
    }
    const turn = ++this.turn;
    const started = performance.now();
    const found = [];
    const users = new Map();
    let parts = 0;
    try {
      await session.pool(query, (part) => {
        parts++;
        if (part.type === 'user') part.data.forEach((u) => users.set(u.id, u));
        else found.push(...part.data);
        if (turn === this.turn) this.show(query.type, found, users);
      });
    } catch (e) {
      if (turn === this.turn) {
        this.say(`${e.code ? `${e.code}: ` : ''}${e.message}`, true);
        this.results.replaceChildren();
      }
      return;
    }
    if (turn !== this.turn) return;
    this.show(query.type, found, users);
    const ms = Math.round(performance.now() - started);
    this.say(`${found.length} ${found.length === 1 ? 'entity' : 'entities'} in ${parts} ${parts === 1 ? 'part' : 'parts'}, ${ms} ms`);
  }

  say(text, bad = false) {
    this.status.textContent = text;
    this.status.classList.toggle('bad', bad);
  }

  show(type, list, users) {
    const items = list.slice(0, maxShown).map((e) => el('li', {},
      el('span', { className: 'swatch', 'data-color': '' }, glyph(type, e)),
      el('span', { className: 'text' },
        el('b', {}, title(type, e)), ' ',
        el('span', { className: 'quiet' }, detail(type, e, users)))));
    list.slice(0, maxShown).forEach((e, i) => {
      if (/^#[0-9a-f]{6}$/i.test(e.color ?? '')) items[i].firstElementChild.style.backgroundColor = e.color;
    });
    if (list.length > maxShown) items.push(el('li', { className: 'quiet' }, `… and ${list.length - maxShown} more`));
    this.results.replaceChildren(...items);
  }
}

function glyph(type, e) {
  return { channel: '#', role: '@', customEmoji: ':', autoResponse: '»', settingValue: '=', guild: '⌂' }[type]
    ?? (e.nick || e.name || '?').slice(0, 1).toUpperCase();
}

function title(type, e) {
  if (type === 'member') return e.nick || e.name;
  if (type === 'autoResponse') return e.trigger;
  if (type === 'settingValue') return e.id;
  return e.name ?? e.id;
}

function detail(type, e, users) {
  switch (type) {
    case 'member': {
      const u = users.get(e.id);
      return `${u ? u.username : e.name}#${e.discriminator}${u?.bot ? ' · bot' : ''} · ${e.roles.length} ${e.roles.length === 1 ? 'role' : 'roles'}`;
    }
    case 'role': return `${e.members?.length ?? 0} members · position ${e.position}`;
    case 'customEmoji': return `used ${e.numUses}×`;
    case 'autoResponse': return `${e.response} · ${e.mode} · used ${e.count}×`;
    case 'settingValue': return JSON.stringify(e.value);
    case 'guild': return `${e.member_count ?? '?'} members`;
    default: return e.id;
  }
}
