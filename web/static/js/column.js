import { clock, el, span } from './dom.js';
import { describe } from './describe.js';

const maxRows = 80;

/** One user's column: what the user gets, and what others got meanwhile. */
export class Column {
  constructor(session, index) {
    this.session = session;
    this.counts = { pool: 0, other: 0, held: 0 };
    const { account } = session;
    const root = document.getElementById('column-template').content.firstElementChild.cloneNode(true);
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    root.id = `view-${account.key}`;
    root.dataset.view = account.key;
    root.dataset.hue = String(index % 3);
    root.setAttribute('aria-label', `${account.name}, ${account.role}`);
    this.find('.avatar').textContent = account.name.slice(0, 1).toUpperCase();
    this.find('.name').textContent = account.name;
    this.find('.role').textContent = account.role;
    this.find('.bits').append(...session.permissions.map((name) => el('li', { className: 'tag' }, name.replaceAll('_', ' ').toLowerCase())));
    this.stream = this.find('.stream');
    this.stream.setAttribute('aria-label', `Events for ${account.name}`);
    this.control();
    this.show();
  }

  control() {
    const s = this.session;
    const spectate = this.find('.spectate');
    const logs = this.find('.logs');
    const attempt = async (work) => {
      try {
        await work();
      } catch (e) {
        this.note(`${e.code ? `${e.code} ` : ''}${e.message}`, true);
      }
      this.show();
    };
    const apply = () => attempt(async () => {
      if (!spectate.checked) await s.unspectate();
      else await s.spectate(logs.checked);
    });
    spectate.addEventListener('change', apply);
    logs.addEventListener('change', () => (spectate.checked ? apply() : undefined));
    this.find('.short').addEventListener('click', () => attempt(() => s.renew(30)));
    this.find('.demote').addEventListener('click', () =>
      attempt(() => (s.elevated ? s.demote() : s.renew(3600).then(() => s.spectate(logs.checked)))));
    this.find('.cut').addEventListener('click', () => s.cut(5));
    s.addEventListener('change', () => this.show());
    s.addEventListener('notice', (e) => this.note(e.detail.text, e.detail.bad));
    s.addEventListener('names', (e) => this.rename(e.detail));
  }

  /** Brings the head up to date with the session. */
  show() {
    const s = this.session;
    const state = this.find('.state');
    state.textContent = s.socket.connected ? s.transport : 'offline';
    state.dataset.state = s.socket.connected ? (s.elevated ? 'elevated' : 'connected') : 'offline';
    state.title = s.elevated ? 'connected and elevated' : s.socket.connected ? 'connected, not elevated' : 'not connected';
    this.find('.spectate').checked = Boolean(s.spectating);
    if (s.spectating) this.find('.logs').checked = s.spectating.logs;
    for (const control of this.root.querySelectorAll('.controls input, .short')) control.disabled = !s.elevated;
    this.find('.demote').disabled = this.find('.cut').disabled = !s.socket.connected;
    this.find('.demote').textContent = s.elevated ? 'Demote' : 'Elevate';
    this.tick();
  }

  /** Shows what is left of the token's life. */
  tick() {
    const { elevated } = this.session;
    const bar = this.find('.life-bar span');
    const text = this.find('.life-text');
    if (!elevated) {
      bar.style.width = '0';
      text.textContent = 'not elevated';
      return;
    }
    const left = elevated.until - Date.now() / 1000;
    bar.style.width = `${Math.max(0, Math.min(100, (100 * left) / (elevated.until - elevated.from)))}%`;
    this.find('.life').dataset.low = String(left < 60);
    text.textContent = `elevated for ${span(left)}`;
  }

  event(name, payload, replayed) {
    if (payload?.type && Array.isArray(payload.data)) this.session.learn(payload.type, payload.data);
    const d = describe(name, payload);
    const logs = name === 'log_other';
    this.count(logs ? 'other' : 'pool');
    const line = el('summary', {},
      el('span', { className: 'icon', 'aria-hidden': 'true' }, d.icon),
      el('span', { className: 'text' }, ...d.parts.map((p) => this.part(p))),
      d.private ? el('span', { className: 'tag private' }, 'private') : null,
      replayed ? el('span', { className: 'tag', title: 'It happened while this user was away' }, 'replayed') : null,
      el('span', { className: 'tag' }, name),
      el('time', {}, clock()));
    const details = el('details', {}, line);
    details.addEventListener('toggle', () => {
      if (details.open && details.childElementCount === 1) details.append(el('pre', {}, JSON.stringify(payload, null, 2)));
    });
    this.push(el('li', { className: `event ${logs ? 'other' : 'pool'}` }, details));
  }

  part(p) {
    if (typeof p === 'string') return p;
    if (p.quote !== undefined) return el('q', {}, p.quote);
    return el('b', { 'data-id': p.id }, this.session.nameOf(p.id) ?? `…${p.id.slice(-4)}`);
  }

  rename(ids) {
    for (const node of this.stream.querySelectorAll('[data-id]')) {
      if (ids.has(node.dataset.id)) node.textContent = this.session.names.get(node.dataset.id);
    }
  }

  /** An event that others got and this user did not. */
  withheld(reason) {
    this.count('held');
    const first = this.stream.firstElementChild;
    if (first?.dataset.reason === reason) {
      first.dataset.n = String(Number(first.dataset.n) + 1);
      first.textContent = this.heldText(reason, Number(first.dataset.n));
      return;
    }
    const row = el('li', { className: 'held' }, this.heldText(reason, 1));
    row.dataset.reason = reason;
    row.dataset.n = '1';
    this.push(row);
  }

  heldText(reason, n) {
    return `🔒 ${n} ${n === 1 ? 'event' : 'events'} ${reason}`;
  }

  note(text, bad) {
    this.push(el('li', { className: `note ${bad ? 'bad' : ''}`, role: 'status' }, text));
  }

  count(what) {
    this.find(`.count-${what}`).textContent = String(++this.counts[what]);
  }

  push(row) {
    this.stream.prepend(row);
    while (this.stream.childElementCount > maxRows) this.stream.lastElementChild.remove();
  }
}
