import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { conversationOf, type Conversation, type Message } from '../conversation';
import { emoji, markdown } from '../markdown';
import type { Session } from '../session';
import { useStore } from '../store';
import { Avatar, Tag, timeText } from '../ui/bits';
import { Icon } from '../ui/icon';

const examples = [
  '!help', '!set good morning::morning, [author]! [☕]', 'good morning', '!xpoll Snack?, pie, cake, olives',
  '!schedule film night tomorrow 8pm', '!set ^i am (.+)$::hi [0], I am a [adj] [noun]', 'i am hungry',
];

const quick = ['👍', '❤️', '🎉', '👀'];

/** The front page's mock of a Discord chat: one person and the bot. */
export function ChatView({ session }: { session: Session }): JSX.Element {
  const conversation = conversationOf(session.client);
  const messages = useStore(conversation);
  const end = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (end.current) end.current.scrollTop = end.current.scrollHeight;
  }, [messages]);

  const send = (words: string): void => {
    if (!words.trim()) return;
    conversation.send(words.trim());
    input.current?.focus();
  };
  return (
    <div class="chat card">
      <div class="chat-log" ref={end} role="log" aria-label="Messages" tabIndex={0}>
        {messages.map((m) => <Line key={m.id} message={m} session={session} conversation={conversation} />)}
      </div>
      <div class="chips" role="group" aria-label="Examples">
        {examples.map((e) => <button key={e} type="button" class="chip" onClick={() => send(e)}>{e}</button>)}
      </div>
      <form class="chat-form" onSubmit={(e) => {
        e.preventDefault();
        const field = input.current; // read now: what is drawn is a frame behind
        if (!field) return;
        send(field.value);
        field.value = '';
      }}>
        <label class="visually-hidden" for="chat-input">Message the bot</label>
        <input id="chat-input" ref={input} placeholder="Message the bot" autocomplete="off" maxLength={2000} />
        <button type="submit" class="button primary"><Icon name="send" /><span>Send</span></button>
      </form>
    </div>
  );
}

function Line({ message: m, session, conversation }: { message: Message; session: Session; conversation: Conversation }): JSX.Element {
  const mine = m.author === 'you';
  const name = mine ? session.account.name : 'architus';
  return (
    <article class="message" data-state={m.state}>
      <Avatar id={mine ? session.account.user_id : 'architus'} name={name} size={34} />
      <div class="message-body">
        <header>
          <b>{name}</b>{!mine && <Tag tone="accent">bot</Tag>}<time>{timeText(m.at)}</time>
          {m.edited && <span class="quiet">edited</span>}
          {m.state === 'waiting' && <Tag tone="old"><Icon name="clock" size={12} />waiting</Tag>}
          {m.state === 'failed' && <Tag tone="bad" title={m.reason ?? ''}>not sent</Tag>}
          {m.state === 'failed' && <button type="button" class="link" onClick={() => conversation.again(m)}>Send again</button>}
        </header>
        <div class="message-text">{markdown(m.text)}</div>
        {m.reactions.length > 0 && (
          <div class="reactions">
            {m.reactions.map((r) => {
              const n = Number(r.bot) + Number(r.mine);
              return (
                <button key={r.emoji} type="button" class="reaction" aria-pressed={r.mine} onClick={() => conversation.toggle(m, r.emoji)}
                  aria-label={`${emoji(r.emoji)}, ${n === 1 ? '1 reaction' : `${n} reactions`}${r.mine ? ', yours among them' : ''}`}>
                  {emoji(r.emoji)} {n}
                </button>
              );
            })}
          </div>
        )}
        {m.id !== 0 && (
          <div class="quick">
            {quick.filter((q) => !m.reactions.some((r) => r.emoji === q)).map((q) => (
              <button key={q} type="button" class="reaction add" onClick={() => conversation.toggle(m, q)} aria-label={`React with ${q}`} title="React">{q}</button>
            ))}
          </div>
        )}
      </div>
    </article>
  );
}
