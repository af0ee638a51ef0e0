/** The echo page: whatever is sent comes back; each reply is compared with what was sent, and timed. Replies come in the order of the messages. */

import { element, make, sendOnEnter } from './shell.js';
import { NAMES, openSocket } from './transport.js';
import { readHex } from './wire.js';

/** @typedef {string | Uint8Array<ArrayBuffer>} Payload */
/** @typedef {{ payload: Payload, sentAt: number, row: HTMLLIElement }} Exchange */

const ROWS_LIMIT = 100;
const WAITING_LIMIT = 64;
const FILE_LIMIT_BYTES = 64 * 1024 * 1024;
const TEXT_PREVIEW = 280;
const HEX_PREVIEW_BYTES = 48;
const BARS = 48;

const notice = element('notice', HTMLElement);
const replies = element('replies', HTMLOListElement);
const empty = element('empty', HTMLElement);
const bars = element('bars', HTMLElement);
const summary = element('summary', HTMLElement);
const textField = element('text', HTMLTextAreaElement);
const hexField = element('hex', HTMLInputElement);
const fileField = element('file', HTMLInputElement);

/** @type {Exchange[]} sent and not yet answered, oldest first */
let waiting = [];
/** @type {number[]} round trips of the latest replies in milliseconds */
let trips = [];

const live = openSocket({
  onState: (state) => {
    if (state.name === 'connecting') return;
    // Also when another transport takes over.
    for (const exchange of waiting) finish(exchange, 'lost', 'no answer: the connection ended');
    waiting = [];
    if (state.name !== 'waiting') return;
    const { code, reason } = state.close;
    // 1005 and 1006 are the browser's own words for "no code given" and "no closing handshake".
    if (code !== 1005 && code !== 1006) notice.textContent = `The server closed the connection: ${code} ${reason}`;
  },
  onMessage: (data) => {
    const now = performance.now();
    const exchange = waiting.shift();
    if (!exchange || !(typeof data === 'string' || data instanceof ArrayBuffer)) return;
    const payload = typeof data === 'string' ? data : new Uint8Array(data);
    const isSame = same(exchange.payload, payload);
    finish(exchange, isSame ? 'same' : 'different', `${milliseconds(now - exchange.sentAt)}${isSame ? '' : ', not what was sent'}`);
    count(now - exchange.sentAt);
  },
});

sendOnEnter(textField);
element('text-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  if (send(textField.value)) textField.select();
});

element('hex-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  const bytes = readHex(hexField.value);
  hexField.setAttribute('aria-invalid', String(bytes === undefined));
  if (!bytes) {
    notice.textContent = 'That is not hex: write whole bytes, such as 53 6f 63 6b.';
    return hexField.focus();
  }
  if (send(bytes)) hexField.select();
});

fileField.addEventListener('change', async () => {
  for (const file of fileField.files ?? []) await sendFile(file);
  fileField.value = '';
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', async (event) => {
  event.preventDefault();
  for (const file of event.dataTransfer?.files ?? []) await sendFile(file);
});

for (const button of document.querySelectorAll('button[data-length]')) {
  if (!(button instanceof HTMLButtonElement)) continue;
  button.addEventListener('click', () => send(pattern(Number(button.dataset.length))));
}

/** @param {File} file */
async function sendFile(file) {
  if (file.size > FILE_LIMIT_BYTES) {
    notice.textContent = `${file.name} has ${size(file.size)}; this page sends at most ${size(FILE_LIMIT_BYTES)}.`;
    return;
  }
  send(new Uint8Array(await file.arrayBuffer()), file.name);
}

/**
 * @param {Payload} payload
 * @param {string} [title]
 * @returns {boolean} whether it was sent
 */
function send(payload, title = '') {
  notice.textContent = '';
  if (waiting.length >= WAITING_LIMIT) {
    notice.textContent = `${WAITING_LIMIT} messages are still on their way; wait for some of them.`;
    return false;
  }
  if (!live.isOpen) {
    notice.textContent = 'Not connected just now. Try again when the dot is green.';
    return false;
  }
  const { transport = 'websocket' } = live;
  if (typeof payload !== 'string' && transport !== 'websocket') {
    notice.textContent = `WebSocket does not get through here. ${NAMES[transport]}, which does, takes text, no bytes.`;
    return false;
  }
  // The row first: building it is not part of the round trip.
  const row = show(payload, title);
  waiting.push({ payload, sentAt: performance.now(), row });
  return live.send(payload);
}

/**
 * @param {Payload} payload
 * @param {string} title
 */
function show(payload, title) {
  const kind = typeof payload === 'string' ? 'text' : 'binary';
  const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload).length : payload.length;
  const row = make('li', 'reply');
  row.dataset.kind = kind;
  row.dataset.outcome = 'waiting';
  const head = make('p', 'reply-head');
  head.append(make('span', 'reply-kind', kind), make('span', 'reply-size', size(bytes)), make('span', 'reply-outcome', 'on its way'));
  if (title) head.append(make('bdi', 'reply-title', title));
  row.append(head);
  const content = preview(payload);
  if (content) {
    const text = make('p', kind === 'text' ? 'reply-text' : 'reply-text mono', content);
    text.dir = 'auto';
    row.append(text);
  }
  empty.hidden = true;
  replies.prepend(row);
  while (replies.childElementCount > ROWS_LIMIT) replies.lastElementChild?.remove();
  return row;
}

/**
 * @param {Exchange} exchange
 * @param {'same' | 'different' | 'lost'} outcome
 * @param {string} words
 */
function finish(exchange, outcome, words) {
  exchange.row.dataset.outcome = outcome;
  const cell = exchange.row.querySelector('.reply-outcome');
  if (cell) cell.textContent = words;
}

/** @param {number} trip */
function count(trip) {
  trips = [...trips.slice(-BARS + 1), trip];
  const sorted = [...trips].sort((left, right) => left - right);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const slowest = sorted.at(-1) ?? 0;
  const replied = trips.length === 1 ? '1 reply' : `the last ${trips.length} replies`;
  summary.textContent = `${replied}: half within ${milliseconds(median)}, all within ${milliseconds(slowest)}`;
  bars.replaceChildren(...trips.map((each) => {
    const bar = make('span', 'bar');
    bar.style.height = `${Math.max(6, (each / Math.max(slowest, 0.1)) * 100)}%`;
    return bar;
  }));
}

/**
 * @param {Payload} left
 * @param {Payload} right
 */
function same(left, right) {
  if (typeof left === 'string' || typeof right === 'string') return left === right;
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

/** @param {Payload} payload */
function preview(payload) {
  if (typeof payload === 'string') return payload.length > TEXT_PREVIEW ? `${payload.slice(0, TEXT_PREVIEW)}…` : payload;
  const hex = Array.from(payload.subarray(0, HEX_PREVIEW_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return payload.length > HEX_PREVIEW_BYTES ? `${hex} …` : hex;
}

/**
 * Bytes that are not all alike, so that a reply with pieces swapped would be noticed.
 * @param {number} length
 */
function pattern(length) {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff);
}

/** @param {number} ms */
function milliseconds(ms) {
  return ms < 0.1 ? 'under 0.1 ms' : `${ms.toFixed(1)} ms`;
}

/** @param {number} bytes */
function size(bytes) {
  if (bytes === 1) return '1 byte';
  return bytes < 1024 * 1024 ? `${bytes.toLocaleString('en')} bytes` : `${(bytes / 1024 / 1024).toLocaleString('en', { maximumFractionDigits: 1 })} MiB`;
}
