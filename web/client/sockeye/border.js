/** The border: what arrives is unknown, what leaves here is valid. */

import { SockeyeError } from './events.js';
import { BATCH_LENGTH, BATCH_LIMIT, MEMBERS_LIMIT, RECEIVE_LIMIT, RETRY_AFTER_CAP_MS } from './limits.js';

/** @import { Member, Message, Position } from '../sockeye.d.ts' */
/** @typedef {Record<string, unknown>} Json */

/** @param {string | { readonly href: string }} url */
export function address(url) {
  const resolved = new URL(typeof url === 'string' ? url : url.href, globalThis.location?.href);
  if (resolved.protocol === 'http:' || resolved.protocol === 'https:') resolved.protocol = resolved.protocol.replace('http', 'ws');
  if (resolved.protocol !== 'ws:' && resolved.protocol !== 'wss:') throw new TypeError(`not an address of a WebSocket: ${resolved.protocol}`);
  resolved.hash = '';
  return resolved;
}

/** @param {URL} url */
export function isLoopback({ hostname }) {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

/** JSON without its first brace, so that an `id` can be put in front each time it is sent. @param {object} command */
export function encode(command) {
  return JSON.stringify(command).slice(1);
}

/** As few messages as the limits allow. @param {string[]} texts @returns {string[]} */
export function batches(texts) {
  /** @type {string[]} */
  const messages = [];
  /** @type {string[]} */
  let batch = [];
  let length = 0;
  const flush = () => {
    if (batch.length > 0) messages.push(batch.length === 1 ? batch.join() : `[${batch.join()}]`);
    batch = [];
    length = 0;
  };
  for (const text of texts) {
    if (batch.length >= BATCH_LIMIT || length + text.length > BATCH_LENGTH) flush();
    batch.push(text);
    length += text.length;
  }
  flush();
  return messages;
}

/** @param {unknown} data @returns {unknown} nothing if it is no JSON */
export function parse(data) {
  if (typeof data !== 'string' || data.length > RECEIVE_LIMIT) return undefined;
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/** @param {unknown} value @returns {value is Json} */
export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @param {unknown} value @returns {value is number} */
export function isCount(value) {
  return Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;
}

/** @param {Json} object @returns {Position | undefined} */
export function readPosition({ epoch, offset }) {
  return typeof epoch === 'string' && isCount(offset) ? { epoch, offset } : undefined;
}

/** @param {unknown} value @returns {number | undefined} milliseconds that a timer can wait */
export function readPause(value) {
  return typeof value === 'number' && value >= 0 ? Math.min(value, RETRY_AFTER_CAP_MS) : undefined;
}

/** @param {Json} object @returns {SockeyeError} */
export function readError({ code, message, retry_after_ms: hint }) {
  return new SockeyeError(typeof code === 'string' ? code : 'internal', typeof message === 'string' ? message : '', { retryAfter: readPause(hint) });
}

/** @param {unknown} list @returns {Member[]} the well-formed ones */
export function readMembers(list) {
  if (!Array.isArray(list)) return [];
  return list.slice(0, MEMBERS_LIMIT).flatMap((entry) => {
    if (!isObject(entry) || typeof entry.session !== 'string') return [];
    const { session, user, as } = entry;
    return [{ session, user: typeof user === 'string' ? user : undefined, as }];
  });
}

/** @param {string} channel @param {string | undefined} epoch @param {unknown} object @returns {Message | undefined} */
export function readMessage(channel, epoch, object) {
  if (!isObject(object)) return undefined;
  const { data, base64, offset, event, from, at } = object;
  const content = base64 === undefined ? data : fromBase64(base64);
  if (content === undefined) return undefined;
  /** @type {Message} */
  const message = { type: 'message', channel, data: content };
  if (isCount(offset) && epoch !== undefined) Object.assign(message, { epoch, offset });
  if (typeof event === 'string') message.event = event;
  const [sender] = readMembers([from]);
  if (sender) message.from = sender;
  if (typeof at === 'number') message.at = at;
  return message;
}

/** @param {unknown} data @returns {Uint8Array | undefined} nothing if these are no bytes */
export function asBytes(data) {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : undefined;
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = '';
  // In pieces: arguments are on the stack.
  for (let start = 0; start < bytes.length; start += 8192) text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  return btoa(text);
}

/** @param {unknown} text @returns {Uint8Array | undefined} */
export function fromBase64(text) {
  if (typeof text !== 'string') return undefined;
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** @param {string} text */
export function utf8Length(text) {
  return new TextEncoder().encode(text).length;
}

/** A name that nobody else has. */
export function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('') + '-';
}
