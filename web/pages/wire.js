/**
 * The border: what arrives is unknown, what leaves here is valid. A message of the wrong shape becomes `undefined`
 * (or is left out of its list), never an exception, because anybody can send anything to these demos.
 */

/** The server keeps the last 100; a page does not show more than this whatever it is sent. */
export const CHAT_MESSAGES_LIMIT = 200;

/** The last instant a `Date` can express. */
const LAST_TIME = 8.64e15;

/**
 * @typedef {{ user: string, text: string, time: number | undefined }} ChatMessage
 * @typedef {{ kind: 'state', messages: ChatMessage[] } | { kind: 'error', text: string }} ChatEvent
 *
 * @typedef {{ kind: 'move', sender: string, hue: number, x: number, y: number, tag: string | undefined, ripple: boolean }} CursorMove
 * @typedef {CursorMove | { kind: 'gone', sender: string } | { kind: 'error', text: string }} CursorEvent
 */

/**
 * @param {unknown} data
 * @returns {ChatEvent | undefined}
 */
export function readChat(data) {
  const object = parseObject(data);
  if (!object) return undefined;
  if (typeof object.error === 'string') return { kind: 'error', text: object.error };
  if (!Array.isArray(object.msg)) return undefined;
  return { kind: 'state', messages: object.msg.slice(-CHAT_MESSAGES_LIMIT).flatMap(chatMessage) };
}

/**
 * @param {unknown} data
 * @returns {CursorEvent | undefined}
 */
export function readCursor(data) {
  const object = parseObject(data);
  if (!object) return undefined;
  const { sender, color, x, y, tag } = object;
  // With a sender it is from somebody else, whose unknown members are passed on.
  if (sender === undefined && typeof object.error === 'string') return { kind: 'error', text: object.error };
  if (typeof sender !== 'string' || sender === '' || sender.length > 64) return undefined;
  if (object.gone === true) return { kind: 'gone', sender };
  if (!isFinite(x) || !isFinite(y)) return undefined;
  const hue = isFinite(color) ? ((color % 360) + 360) % 360 : 200;
  return { kind: 'move', sender, hue, x, y, tag: typeof tag === 'string' ? tag : undefined, ripple: object.ripple === true };
}

/**
 * Bytes written as people write them: `48 65 6c`, `48656c`, `0x48, 0x65`.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer> | undefined} nothing when it is not whole bytes in hex
 */
export function readHex(text) {
  const digits = text.replace(/0x/gi, ' ').split(/[\s,:;]+/).filter((part) => part !== '');
  if (digits.some((part) => part.length % 2 !== 0 || /[^0-9a-f]/i.test(part))) return undefined;
  const pairs = digits.join('').match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}

/**
 * @param {unknown} entry
 * @returns {ChatMessage[]} one message, or none
 */
function chatMessage(entry) {
  if (typeof entry !== 'object' || entry === null) return [];
  const { user, text, time } = /** @type {Record<string, unknown>} */ (entry);
  if (typeof user !== 'string' || typeof text !== 'string') return [];
  return [{ user, text, time: isFinite(time) && Math.abs(time) <= LAST_TIME ? time : undefined }];
}

/**
 * @param {unknown} data
 * @returns {Record<string, unknown> | undefined}
 */
function parseObject(data) {
  if (typeof data !== 'string') return undefined;
  try {
    const value = JSON.parse(data);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isFinite(value) {
  return typeof value === 'number' && Number.isFinite(value);
}
