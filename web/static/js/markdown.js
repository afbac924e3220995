import { el } from './dom.js';

const shortcodes = {
  white_check_mark: '✅', x: '❌', shrug: '🤷', confused: '😕', owl: '🦉', wave: '👋', tada: '🎉', heart: '❤️',
  thumbsup: '👍', fire: '🔥', eyes: '👀',
};

// The first that fits at a position counts: block, code, bold, underlined, italic, shortcode.
const marks = /```([\s\S]+?)```|`([^`]+)`|\*\*(.+?)\*\*|__(.+?)__|(?<![\w*])[*_](.+?)[*_](?![\w*])|:(\w+):/g;

// Keycaps come without the selector that asks for their colourful form.
const keycaps = /([0-9#*])\u20e3/g;

/** The part of Discord's markdown that the bot uses, as nodes. */
export function markdown(text, depth = 0) {
  if (depth === 0) text = text.replace(keycaps, '$1\ufe0f\u20e3');
  if (depth > 4) return [text];
  const nodes = [];
  let at = 0;
  for (const m of text.matchAll(marks)) {
    if (m[6] !== undefined && !shortcodes[m[6]]) continue;
    if (m.index > at) nodes.push(text.slice(at, m.index));
    at = m.index + m[0].length;
    const inner = (s) => markdown(s, depth + 1);
    if (m[1] !== undefined) nodes.push(el('pre', {}, m[1].trim()));
    else if (m[2] !== undefined) nodes.push(el('code', {}, m[2]));
    else if (m[3] !== undefined) nodes.push(el('strong', {}, ...inner(m[3])));
    else if (m[4] !== undefined) nodes.push(el('u', {}, ...inner(m[4])));
    else if (m[5] !== undefined) nodes.push(el('em', {}, ...inner(m[5])));
    else nodes.push(shortcodes[m[6]]);
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

/** A reaction as it is shown: shortcodes by their emoji where there is one. */
export function emoji(text) {
  const name = /^(?:<a?)?:(\w+):/.exec(text)?.[1];
  return name ? shortcodes[name] ?? `:${name}:` : text.replace(keycaps, '$1\ufe0f\u20e3');
}
