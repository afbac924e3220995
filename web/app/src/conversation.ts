import type { Client } from '@guildcast/client';
import { Store } from './store';

/** Numbers of what happens in a chat, as Architus has them. */
const acts = { sent: 3001, edited: 3002, deleted: 72, reactionAdded: 3100, reactionRemoved: 3101 } as const;

const commands = ['set', 'remove', 'poll', 'xpoll', 'schedule'];
const maxMessages = 200;

export interface Reaction {
  emoji: string;
  bot: boolean;
  mine: boolean;
}

export interface Message {
  id: number;
  author: 'you' | 'bot';
  text: string;
  at: number;
  state: 'waiting' | 'sent' | 'failed';
  reason?: string; // of the failure
  edited: boolean;
  reactions: readonly Reaction[];
}

interface Act {
  action: number;
  message_id: number;
  content?: string;
  emoji?: string;
  targets_user?: boolean;
}

/** A mock guild that nobody else knows, with the bot in it. */
export class Conversation extends Store<readonly Message[]> {
  private readonly guild = 1 + Math.floor(Math.random() * 9_999_998);
  private nextID = 2; // a client's are even
  private queue: Promise<unknown> = Promise.resolve(); // messages are answered in the order in which they were sent

  constructor(private readonly client: Client) {
    super([{
      id: 0, author: 'bot', at: Date.now(), state: 'sent', edited: false, reactions: [],
      text: 'Hi! Nobody else hears us here. Try one of the examples, or teach me something with `!set trigger::response`.',
    }]);
  }

  send(text: string): void {
    const id = this.nextID;
    this.nextID += 2;
    this.add({ id, author: 'you', text, at: Date.now(), state: 'waiting', edited: false, reactions: [] });
    this.deliver(id, text);
  }

  /** Sends a message again that could not be sent. */
  again(message: Message): void {
    this.change(message.id, { state: 'waiting' });
    this.deliver(message.id, message.text);
  }

  toggle(message: Message, emoji: string): void {
    const mine = !message.reactions.find((r) => r.emoji === emoji)?.mine;
    this.react(message.id, emoji, { mine });
    this.queue = this.queue.then(() => this.ask({
      action: mine ? acts.reactionAdded : acts.reactionRemoved, message_id: message.id, emoji,
    })).catch(() => this.react(message.id, emoji, { mine: !mine }));
  }

  private deliver(id: number, text: string): void {
    this.queue = this.queue.then(async () => {
      try {
        await connected(this.client);
        await this.ask({ action: acts.sent, message_id: id, content: text, allowed_commands: commands });
        this.change(id, { state: 'sent' });
      } catch (e) {
        this.change(id, { state: 'failed', reason: e instanceof Error ? e.message : String(e) });
      }
    });
  }

  private async ask(request: Record<string, unknown>): Promise<void> {
    const answer = await this.client.interpret({ guild_id: this.guild, silent: false, ...request } as Parameters<Client['interpret']>[0]);
    for (const act of answer.actions as Act[]) this.apply(act);
  }

  private apply(a: Act): void {
    switch (a.action) {
      case acts.sent:
        this.add({ id: a.message_id, author: 'bot', text: a.content ?? '', at: Date.now(), state: 'sent', edited: false, reactions: [] });
        break;
      case acts.edited:
        this.change(a.message_id, { text: a.content ?? '', edited: true });
        break;
      case acts.deleted:
        this.set(this.getSnapshot().filter((m) => m.id !== a.message_id));
        break;
      case acts.reactionAdded:
        this.react(a.message_id, a.emoji ?? '', { bot: true });
        break;
      case acts.reactionRemoved:
        this.react(a.message_id, a.emoji ?? '', a.targets_user ? { mine: false } : { bot: false });
        break;
    }
  }

  private add(message: Message): void {
    this.set([...this.getSnapshot(), message].slice(-maxMessages));
  }

  private change(id: number, change: Partial<Message>): void {
    this.set(this.getSnapshot().map((m) => (m.id === id ? { ...m, ...change } : m)));
  }

  private react(id: number, emoji: string, change: Partial<Reaction>): void {
    const message = this.getSnapshot().find((m) => m.id === id);
    if (!message) return;
    const list = message.reactions.some((r) => r.emoji === emoji) ? message.reactions : [...message.reactions, { emoji, bot: false, mine: false }];
    this.change(id, {
      reactions: list.map((r) => (r.emoji === emoji ? { ...r, ...change } : r)).filter((r) => r.bot || r.mine),
    });
  }
}

/** Resolves once there is a connection: at once, or when it has come back. */
function connected(client: Client): Promise<void> {
  return new Promise((resolve) => {
    if (client.connection.getSnapshot().status === 'connected') {
      resolve();
      return;
    }
    const off = client.connection.subscribe(() => {
      if (client.connection.getSnapshot().status !== 'connected') return;
      off();
      resolve();
    });
  });
}

const conversations = new WeakMap<Client, Conversation>();

/** The conversation over a connection. It outlives the view. */
export function conversationOf(client: Client): Conversation {
  let c = conversations.get(client);
  if (!c) conversations.set(client, (c = new Conversation(client)));
  return c;
}
