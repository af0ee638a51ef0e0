/** The chat page. The server always sends the whole state; the page changes only what differs, so that reading and selecting are not disturbed. */

import { fishName, hueOf } from './fish.js';
import { element, make, sendOnEnter } from './shell.js';
import { openSocket } from './transport.js';
import { readChat } from './wire.js';

/** @typedef {import('./wire.js').ChatMessage} ChatMessage */

const NAME_KEY = 'sockeye.chat.name';
const MINE_KEY = 'sockeye.chat.mine';
const MINE_LIMIT = 200;
const PENDING_LIMIT = 50;
/** Messages of one person within this time share one name line. */
const SAME_BREATH_MS = 3 * 60_000;
/** This close to the end counts as reading the newest. */
const NEAR_END_PX = 48;

const form = element('composer', HTMLFormElement);
const nameField = element('name', HTMLInputElement);
const textField = element('text', HTMLTextAreaElement);
const log = element('log', HTMLElement);
const list = element('messages', HTMLOListElement);
const empty = element('empty', HTMLElement);
const notice = element('notice', HTMLElement);
const latest = element('latest', HTMLButtonElement);

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const calendar = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

/** @typedef {{ message: ChatMessage, key: string, isMine: boolean }} Entry */

/** @type {Entry[]} what the list shows, in its order */
let shown = [];
/** @type {{ user: string, text: string }[]} sent on this connection and not yet seen in the state */
let pending = [];
/** Text put back into the field after the connection broke; it may turn out to have arrived. */
let restored = '';
/** Keys of this tab's own messages. A name proves nothing here: anybody may call themselves anything. */
const mine = new Set(recall('sessionStorage', MINE_KEY));

nameField.value = recall('localStorage', NAME_KEY)[0] ?? fishName(crypto.randomUUID());
sendOnEnter(textField);

const live = openSocket({
  onState: (state) => {
    const last = pending.at(-1);
    // It is open again without a pause when another transport takes over.
    if ((state.name === 'waiting' || state.name === 'open') && last && restored === '') giveBack(last.text, 'The connection broke before the server answered. Your text is back in the field.');
  },
  onMessage: (data) => {
    const event = readChat(data);
    if (event?.kind === 'state') show(event.messages);
    // The server answers in order, so a refusal speaks of the oldest message that it has not shown yet.
    if (event?.kind === 'error') giveBack(pending.shift()?.text ?? '', `The server said: ${event.text}`);
  },
});

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const user = nameField.value.trim();
  const text = textField.value.trim();
  if (user === '') return complain('Please give a name first.', nameField);
  if (text === '') return complain('Please write something first.', textField);
  if (!live.send(JSON.stringify({ user, text }))) {
    return complain('Not connected just now. Your text stays here until the dot is green.', textField);
  }
  pending = [...pending.slice(-PENDING_LIMIT + 1), { user, text }];
  restored = '';
  notice.textContent = '';
  textField.value = '';
  textField.focus();
  remember('localStorage', NAME_KEY, [user]);
  scrollToEnd();
});

log.addEventListener('scroll', () => {
  if (isAtEnd()) latest.hidden = true;
}, { passive: true });
latest.addEventListener('click', () => {
  scrollToEnd();
  textField.focus();
});
new ResizeObserver(() => {
  if (latest.hidden) scrollToEnd();
}).observe(log);

/**
 * The state is a sliding window: whatever slid out is taken from the front, whatever is new goes to the end.
 * @param {ChatMessage[]} messages
 */
function show(messages) {
  /** @type {Entry[]} */
  const next = messages.map((message) => ({ message, key: JSON.stringify([message.time, message.user, message.text]), isMine: false }));
  let dropped = 0;
  while (shown.slice(dropped).some((entry, index) => entry.key !== next[index]?.key)) dropped += 1;
  const follow = isAtEnd();
  for (let count = 0; count < dropped; count += 1) list.firstElementChild?.remove();
  list.firstElementChild?.classList.remove('follows');

  const kept = shown.slice(dropped);
  const added = next.slice(kept.length);
  let before = kept.at(-1);
  for (const entry of added) {
    claim(entry);
    list.append(row(entry, before));
    before = entry;
  }
  shown = [...kept, ...added];
  empty.hidden = shown.length > 0;
  if (follow) scrollToEnd();
  else if (added.length > 0) latest.hidden = false;
}

/**
 * The first newcomer that says what we just sent is ours.
 * @param {Entry} entry
 */
function claim(entry) {
  const { message, key } = entry;
  entry.isMine = mine.has(key);
  const index = pending.findIndex((sent) => sent.user === message.user && sent.text === message.text);
  if (index < 0) return;
  pending.splice(index, 1);
  mine.add(key);
  entry.isMine = true;
  remember('sessionStorage', MINE_KEY, [...mine].slice(-MINE_LIMIT));
  if (restored === message.text && textField.value === restored) {
    textField.value = '';
    notice.textContent = '';
  }
}

/**
 * @param {Entry} entry
 * @param {Entry | undefined} before
 */
function row({ message, isMine }, before) {
  const item = make('li', isMine ? 'message mine' : 'message');
  // Somebody else under our name is somebody else, and gets a name line.
  const sameSpeaker = before !== undefined && before.message.user === message.user && before.isMine === isMine;
  const sameBreath = sameSpeaker && (message.time ?? 0) - (before.message.time ?? 0) < SAME_BREATH_MS;
  if (sameBreath) item.classList.add('follows');
  const head = make('p', 'message-head');
  const name = make('bdi', 'message-name', message.user);
  name.style.setProperty('--hue', String(hueOf(message.user)));
  head.append(name);
  if (isMine) head.append(make('span', 'message-you', 'you'));
  const text = make('p', 'message-text', message.text);
  text.dir = 'auto';
  item.append(head, text, timeOf(message));
  return item;
}

/** @param {ChatMessage} message */
function timeOf(message) {
  const time = make('time', 'message-time');
  if (message.time === undefined) return time;
  const date = new Date(message.time);
  time.dateTime = date.toISOString();
  time.textContent = (date.toDateString() === new Date().toDateString() ? clock : calendar).format(date);
  return time;
}

/**
 * What did not arrive goes back into the field, unless something newer is being written there.
 * @param {string} text
 * @param {string} why
 */
function giveBack(text, why) {
  notice.textContent = why;
  if (textField.value !== '') return;
  textField.value = text;
  restored = text;
}

/**
 * @param {string} why
 * @param {HTMLElement} field
 */
function complain(why, field) {
  notice.textContent = why;
  field.focus();
}

function isAtEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
}

function scrollToEnd() {
  log.scrollTop = log.scrollHeight;
  latest.hidden = true;
}

/**
 * Storage may be forbidden (then even naming it throws), full or hold nonsense; the page works without it.
 * @param {'localStorage' | 'sessionStorage'} storage
 * @param {string} key
 * @returns {string[]}
 */
function recall(storage, key) {
  try {
    const value = JSON.parse(window[storage].getItem(key) ?? '[]');
    return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
  } catch {
    return [];
  }
}

/**
 * @param {'localStorage' | 'sessionStorage'} storage
 * @param {string} key
 * @param {string[]} value
 */
function remember(storage, key, value) {
  try {
    window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // Only the memory of it is lost.
  }
}
