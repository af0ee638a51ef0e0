/** The front page's channel: subscribe, publish, see who is there and what was, with the client that everybody uses. */

import { SockeyeError, connect } from '/sockeye.js';

import { fishName, hueOf } from './fish.js';
import { element, make, sendOnEnter } from './shell.js';

/** @typedef {import('../client/sockeye.js').Message} Message */
/** @typedef {import('../client/sockeye.js').Subscription} Subscription */
/** @typedef {import('../client/sockeye.js').Member} Member */

/** Lines that the log keeps. */
const LOG_LIMIT = 200;
/** Members shown by name; the others are counted. */
const CHIPS_LIMIT = 24;

const joinForm = element('join', HTMLFormElement);
const channelField = element('channel', HTMLInputElement);
const nameField = element('member-name', HTMLInputElement);
const joinButton = element('join-button', HTMLButtonElement);
const members = element('members', HTMLUListElement);
const memberCount = element('member-count', HTMLElement);
const publishForm = element('publish', HTMLFormElement);
const dataField = element('data', HTMLTextAreaElement);
const volatileBox = element('volatile', HTMLInputElement);
const historyButton = element('history', HTMLButtonElement);
const empty = element('nothing', HTMLElement);
const events = element('events', HTMLOListElement);
const notice = element('channel-notice', HTMLElement);

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
export const client = connect('/ws', { name: 'front-page' });
client.onstate = render;

/** @type {Subscription | undefined} */
let subscription;

nameField.value = fishName(crypto.randomUUID());
sendOnEnter(dataField);
render();

joinForm.addEventListener('submit', (event) => {
  event.preventDefault();
  if (subscription) leave();
  else join(channelField.value.trim(), nameField.value.trim());
});

publishForm.addEventListener('submit', async (event) => {
  event.preventDefault();
  const channel = subscription?.channel ?? channelField.value.trim();
  const text = dataField.value.trim();
  if (channel === '' || text === '') return complain(channel === '' ? 'Which channel?' : 'Please write something first.');
  const volatile = volatileBox.checked;
  dataField.value = '';
  dataField.focus();
  const away = client.state.name !== 'open';
  if (away) say('away', volatile ? 'no connection: a volatile one is gone' : 'no connection: it is sent when there is one');
  await attempt(async () => {
    const position = await client.publish(channel, readData(text), { volatile });
    if (!volatile) say('published', 'the server has it', position?.offset);
    else if (!away) say('published', 'to those who are there now');
  });
});

historyButton.addEventListener('click', () => attempt(async () => {
  const channel = subscription?.channel ?? channelField.value.trim();
  const { items, more } = await client.history(channel, { limit: 20, reverse: true });
  say('history', items.length === 0 ? 'holds nothing' : `${items.length} of the newest${more ? ', there are more' : ''}`);
  for (const item of items.reverse()) sayMessage('history', item);
}));

/**
 * @param {string} channel
 * @param {string} name
 */
function join(channel, name) {
  if (channel === '') return complain('Which channel?');
  attempt(async () => {
    const joined = client.subscribe(channel, { last: 5, as: { name } });
    subscription = joined;
    joined.onmessage = (message) => sayMessage('message', message);
    joined.onlost = ({ reason }) => say('lost', `something is missing here (${reason})`);
    joined.onjoin = ({ member }) => say('join', nameOf(member));
    joined.onleave = ({ member }) => say('leave', nameOf(member));
    joined.onmembers = joined.onstate = render;
    joined.onerror = ({ error }) => complain(`${error.code}: ${error.message}`);
    joined.onend = ({ error }) => {
      if (error) complain(`${error.code}: ${error.message}`);
      if (subscription === joined) subscription = undefined;
      render();
    };
    render();
    await joined.ready;
    say('subscribed', channel, joined.position?.offset);
  });
}

function leave() {
  const left = subscription;
  subscription = undefined;
  left?.unsubscribe();
  if (left) say('left', left.channel);
  render();
}

function render() {
  joinButton.textContent = subscription ? 'Leave' : 'Subscribe';
  channelField.readOnly = nameField.readOnly = subscription !== undefined;
  const present = [...(subscription?.members.values() ?? [])];
  memberCount.textContent = howMany(present.length);
  memberCount.classList.toggle('note', !subscription);
  members.replaceChildren(...present.slice(0, CHIPS_LIMIT).map((member) => {
    const chip = make('li', 'chip');
    const dot = make('span', 'chip-dot');
    dot.style.setProperty('--hue', String(hueOf(nameOf(member))));
    chip.append(dot, nameOf(member));
    return chip;
  }));
}

/** @param {number} present */
function howMany(present) {
  if (!subscription) return 'Subscribe to see who is there.';
  if (client.state.name !== 'open') return present === 0 ? 'No connection' : 'No connection; these were there';
  if (subscription.state === 'pending') return 'Subscribing';
  return present === 1 ? 'One is there' : `${present} are there`;
}

/** What cannot be done is said, not thrown. @param {() => Promise<void>} action */
async function attempt(action) {
  notice.textContent = '';
  try {
    await action();
  } catch (error) {
    complain(error instanceof SockeyeError ? `${error.code}: ${error.message}` : String(error));
  }
}

/** @param {string} text */
function complain(text) {
  notice.textContent = text;
}

/** JSON where it is JSON, else text. @param {string} text */
function readData(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Others may show themselves as anything. @param {Member | undefined} member */
function nameOf(member) {
  const shown = /** @type {{ name?: unknown } | null | undefined} */ (member?.as)?.name;
  return typeof shown === 'string' && shown !== '' ? shown.slice(0, 40) : member?.user ?? member?.session.slice(0, 8) ?? 'the server';
}

/**
 * @param {string} kind
 * @param {Message} message
 */
function sayMessage(kind, message) {
  const { data, offset, at, event, from } = message;
  const sender = from ? subscription?.members.get(from.session) ?? from : undefined;
  const text = data instanceof Uint8Array ? `${data.length} bytes` : typeof data === 'string' ? data : JSON.stringify(data);
  say(kind, `${nameOf(sender)}${event ? ` · ${event}` : ''}: ${text}`, offset, at);
}

/**
 * @param {string} kind
 * @param {string} text
 * @param {number} [offset]
 * @param {number} [at]
 */
function say(kind, text, offset, at = Date.now()) {
  const line = make('li', 'reply');
  line.dataset.kind = kind;
  const head = make('p', 'reply-head');
  head.append(make('span', 'reply-kind', kind), make('span', 'event-text', text));
  head.append(make('span', 'reply-outcome', `${offset === undefined ? '' : `#${offset} · `}${clock.format(at)}`));
  line.append(head);
  events.prepend(line);
  while (events.children.length > LOG_LIMIT) events.lastElementChild?.remove();
  empty.hidden = true;
  events.hidden = false;
}
