import { io } from '/vendor/socket.io.esm.min.js';
import { clock, el } from './dom.js';
import { emoji, markdown } from './markdown.js';

const actions = { sent: 3001, edited: 3002, deleted: 72, reactionAdded: 3100, reactionRemoved: 3101 };
const commands = ['set', 'remove', 'poll', 'xpoll', 'schedule'];
const examples = [
  '!help', '!set good morning::morning, [author]! [☕]', 'good morning', '!xpoll Snack?, pie, cake, olives',
  '!schedule film night tomorrow 8pm', '!set ^i am (.+)$::hi [0], I am a [adj] [noun]', 'i am hungry',
];
const maxMessages = 100;

/** The mock chat: a guild that nobody else knows, and the bot in it. */
export class Chat {
  /** path is that of the Socket.IO server. */
  constructor(path) {
    this.guildID = 1 + Math.floor(Math.random() * 9_999_998);
    this.nextID = 2; // the client's are even
    this.messages = new Map(); // id to {node, body, bar, reactions}
    this.log = document.getElementById('chat-log');
    this.input = document.getElementById('chat-input');
    this.socket = io({ path, forceNew: true });
    this.socket.on('interpret_response', (r) => this.answer(r));
    this.socket.on('error', (e) => this.line('error', e?.human ?? e?.message ?? 'error'));
    document.getElementById('chat-form').addEventListener('submit', (e) => {
      e.preventDefault();
      this.send(this.input.value);
      this.input.value = '';
    });
    document.getElementById('chat-suggestions').append(...examples.map((text) => {
      const button = el('button', { type: 'button', className: 'chip' }, text);
      button.addEventListener('click', () => this.send(text));
      return button;
    }));
    this.add(0, 'architus', 'Hi! Everything here stays between us. Try one of the examples below.');
  }

  send(text) {
    if (!text.trim()) return;
    const id = this.nextID;
    this.nextID += 2;
    this.add(id, 'you', text);
    this.emit({ action: actions.sent, message_id: id, content: text, allowed_commands: commands });
  }

  emit(payload) {
    this.socket.emit('interpret', { guild_id: this.guildID, silent: false, ...payload });
  }

  answer(response) {
    if (response.guild_id !== this.guildID) return;
    for (const a of response.actions) {
      const message = this.messages.get(a.message_id);
      switch (a.action) {
        case actions.sent:
          this.add(a.message_id, 'architus', a.content);
          break;
        case actions.edited:
          message?.body.replaceChildren(...markdown(a.content));
          break;
        case actions.deleted:
          message?.node.remove();
          this.messages.delete(a.message_id);
          break;
        case actions.reactionAdded:
          if (message) this.react(message, a.emoji, { bot: true });
          break;
        case actions.reactionRemoved:
          if (message) this.react(message, a.emoji, a.targets_user ? { mine: false } : { bot: false });
          break;
      }
    }
    this.log.scrollTop = this.log.scrollHeight;
  }

  add(id, author, text) {
    const body = el('div', { className: 'body' }, ...markdown(text));
    const bar = el('div', { className: 'reactions' });
    const node = el('article', { className: `message ${author === 'you' ? 'mine' : 'bot'}` },
      el('header', {}, el('b', {}, author), author === 'you' ? null : el('span', { className: 'tag' }, 'bot'), el('time', {}, clock())),
      body, bar);
    this.messages.set(id, { id, node, body, bar, reactions: new Map() });
    this.log.append(node);
    if (this.messages.size > maxMessages) {
      const [oldest, message] = this.messages.entries().next().value;
      message.node.remove();
      this.messages.delete(oldest);
    }
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** Changes who has reacted, and draws it. */
  react(message, name, change) {
    const r = message.reactions.get(name) ?? { bot: false, mine: false, button: null };
    Object.assign(r, change);
    if (!r.button) {
      r.button = el('button', { type: 'button', className: 'reaction' });
      r.button.addEventListener('click', () => {
        this.react(message, name, { mine: !r.mine });
        const action = r.mine ? actions.reactionAdded : actions.reactionRemoved;
        this.emit({ action, message_id: message.id, emoji: name });
      });
      message.bar.append(r.button);
      message.reactions.set(name, r);
    }
    const n = Number(r.bot) + Number(r.mine);
    r.button.hidden = n === 0;
    r.button.textContent = `${emoji(name)} ${n}`;
    r.button.setAttribute('aria-pressed', String(r.mine));
    r.button.setAttribute('aria-label', `${emoji(name)}, ${n} reactions${r.mine ? ', yours among them' : ''}`);
  }

  line(kind, text) {
    this.log.append(el('p', { className: `chat-note ${kind}`, role: 'status' }, text));
    this.log.scrollTop = this.log.scrollHeight;
  }
}
