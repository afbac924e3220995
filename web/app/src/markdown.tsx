import type { ComponentChildren } from 'preact';

const shortcodes: Record<string, string> = {
  white_check_mark: '✅', x: '❌', shrug: '🤷', confused: '😕', owl: '🦉', wave: '👋', tada: '🎉', heart: '❤️',
  thumbsup: '👍', fire: '🔥', eyes: '👀',
};

// The first that fits at a position counts: block, code, bold, underlined, italic, shortcode.
const marks = /```([\s\S]+?)```|`([^`]+)`|\*\*(.+?)\*\*|__(.+?)__|(?<![\w*])[*_](.+?)[*_](?![\w*])|:(\w+):/g;

// Keycaps come without the selector that asks for their colourful form.
const keycaps = /([0-9#*])\u20e3/g;

/** The part of Discord's markdown that the bot uses. Text only ever becomes text. */
export function markdown(text: string, depth = 0): ComponentChildren[] {
  if (depth === 0) text = text.replace(keycaps, '$1\ufe0f\u20e3');
  if (depth > 4) return [text];
  const out: ComponentChildren[] = [];
  let at = 0;
  for (const m of text.matchAll(marks)) {
    const [all, block, code, bold, under, italic, name] = m;
    const short = name === undefined ? undefined : shortcodes[name];
    if (name !== undefined && !short) continue;
    if (m.index > at) out.push(text.slice(at, m.index));
    at = m.index + all.length;
    if (block !== undefined) out.push(<pre>{block.trim()}</pre>);
    else if (code !== undefined) out.push(<code>{code}</code>);
    else if (bold !== undefined) out.push(<strong>{markdown(bold, depth + 1)}</strong>);
    else if (under !== undefined) out.push(<u>{markdown(under, depth + 1)}</u>);
    else if (italic !== undefined) out.push(<em>{markdown(italic, depth + 1)}</em>);
    else out.push(short);
  }
  if (at < text.length) out.push(text.slice(at));
  return out;
}

/** A reaction as it is shown: shortcodes by their emoji where there is one. */
export function emoji(text: string): string {
  const name = /^(?:<a?)?:(\w+):/.exec(text)?.[1];
  return name ? (shortcodes[name] ?? `:${name}:`) : text.replace(keycaps, '$1\ufe0f\u20e3');
}
