/** Publications until they are answered. */

import { asBytes, encode, randomName, readPosition, toBase64, utf8Length } from './border.js';
import { SockeyeError, deferred } from './events.js';
import { CAN_RETRY, ID_BYTES, MESSAGE_BYTES_LIMIT, QUEUE_BYTES_LIMIT, QUEUE_LIMIT, RETRY_WINDOW_MS, backoff } from './limits.js';

/** @import { ConnectOptions, Position, PublishOptions } from '../sockeye.d.ts' */
/** @import { Connection } from './connection.js' */
/** @import { Deferred } from './events.js' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * @typedef {object} Entry a publication that was not answered yet
 * @property {string} body
 * @property {number} bytes
 * @property {boolean} retry
 * @property {number | undefined} firstSent
 * @property {Timer | undefined} timer runs from the first time it was sent
 * @property {number} oversized how many connections ended with 1009 while it was on its way
 * @property {boolean} settled
 * @property {() => void} wake ends a pause early
 * @property {Deferred<Position | undefined>} answer
 */

/**
 * Each publication takes effect once, and those of one channel in the order of the calls.
 *
 * Once: it has a key, and until it is answered it is sent again under the same key, for less time than the server remembers keys.
 *
 * In order: the next one of a channel leaves when the one before was answered. Sending both at once and then repeating both would
 * not do: the first may be refused (a rate limit, say), the second accepted, and the connection lost before the answers; repeated,
 * the first would be accepted now, behind the second. This costs one round trip for each publication of a channel;
 * `ordered: false` sends at once, for those to whom the order matters less.
 */
export class Publisher {
  #connection;
  #maxCount;
  #maxBytes;
  #maxMessageBytes;
  #count = 0;
  #bytes = 0;
  /** @type {Map<unknown, Entry[]>} by channel; one without an order has a lane of its own */
  #lanes = new Map();
  #keyPrefix = randomName();
  #keys = 0;

  /** @param {Connection} connection @param {ConnectOptions} options */
  constructor(connection, { maxQueued = QUEUE_LIMIT, maxQueuedBytes = QUEUE_BYTES_LIMIT, maxMessageBytes = MESSAGE_BYTES_LIMIT }) {
    this.#connection = connection;
    this.#maxCount = maxQueued;
    this.#maxBytes = maxQueuedBytes;
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** @param {string} channel @param {unknown} data @param {PublishOptions} options @returns {Promise<Position | undefined>} */
  publish(channel, data, { event, key, echo, volatile = false, conflate, retry = true, ordered = true }) {
    if (typeof data === 'function' || typeof data === 'symbol') throw new TypeError('neither a JSON value nor bytes');
    const bytes = asBytes(data);
    const content = bytes ? { base64: toBase64(bytes) } : { data: data ?? null };
    const named = key ?? (retry && !volatile ? `${this.#keyPrefix}${(++this.#keys).toString(36)}` : undefined);
    const body = encode({ publish: channel, ...content, event, key: named, echo, volatile: volatile || undefined, conflate });
    const size = utf8Length(body);
    if (size + ID_BYTES > this.#maxMessageBytes) throw new SockeyeError('too_big', `${size} bytes; the server takes ${this.#maxMessageBytes}`);
    if (this.#connection.state.name === 'closed') throw new SockeyeError('closed');
    if (volatile) {
      this.#connection.sendVolatile(body);
      return Promise.resolve(undefined);
    }
    if (this.#count >= this.#maxCount || this.#bytes + size > this.#maxBytes) {
      throw new SockeyeError('limit', `${this.#count} publications of together ${this.#bytes} bytes wait for an answer`);
    }
    /** @type {Entry} */
    const entry = {
      body,
      bytes: size,
      retry,
      firstSent: undefined,
      timer: undefined,
      oversized: 0,
      settled: false,
      wake: () => {},
      answer: deferred(),
    };
    this.#count += 1;
    this.#bytes += size;
    this.#enqueue(ordered ? channel : entry, entry);
    return entry.answer.promise;
  }

  /** @param {SockeyeError} error */
  close(error) {
    for (const lane of this.#lanes.values()) {
      for (const entry of lane) this.#settle(entry, error);
    }
  }

  /** @param {unknown} name @param {Entry} entry */
  #enqueue(name, entry) {
    const lane = this.#lanes.get(name);
    if (lane) return void lane.push(entry);
    this.#lanes.set(name, [entry]);
    this.#drain(name, this.#lanes.get(name) ?? []);
  }

  /** @param {unknown} name @param {Entry[]} lane */
  async #drain(name, lane) {
    for (let entry = lane[0]; entry; entry = lane[0]) {
      for (let failures = 0; !entry.settled; failures++) await this.#attempt(entry, failures);
      lane.shift();
    }
    this.#lanes.delete(name);
  }

  /** @param {Entry} entry @param {number} failures */
  async #attempt(entry, failures) {
    // One that is sent once only does not wait longer than its timeout.
    if (entry.retry) await this.#connection.opened();
    if (entry.settled) return;
    entry.firstSent ??= Date.now();
    // The timer does not run while the machine sleeps, so the clock is asked as well.
    if (Date.now() - entry.firstSent >= RETRY_WINDOW_MS) return this.#giveUp(entry);
    entry.timer ??= setTimeout(() => this.#giveUp(entry), RETRY_WINDOW_MS);
    try {
      const ok = await this.#connection.request(entry.body, { once: !entry.retry });
      this.#settle(entry, undefined, readPosition(ok));
    } catch (thrown) {
      const error = /** @type {SockeyeError} */ (thrown);
      if (error.close?.code === 1009) entry.oversized += 1;
      // Twice the connection did not survive it: it is this one that is too big for the server, or in bad company.
      if (entry.oversized > 1) return this.#settle(entry, new SockeyeError('too_big', 'the server ended the connection', { close: error.close }));
      if (!entry.retry || !CAN_RETRY.has(error.code)) return this.#settle(entry, error);
      if (error.code !== 'disconnected') await this.#pause(entry, Math.max(backoff(failures), error.retryAfter ?? 0));
    }
  }

  /** @param {Entry} entry @param {number} ms @returns {Promise<void>} */
  #pause(entry, ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      entry.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** @param {Entry} entry */
  #giveUp(entry) {
    this.#settle(entry, new SockeyeError('timeout', 'no answer while the key was good; whether it took effect is not known'));
  }

  /** @param {Entry} entry @param {SockeyeError | undefined} error @param {Position} [position] */
  #settle(entry, error, position) {
    if (entry.settled) return;
    entry.settled = true;
    clearTimeout(entry.timer);
    this.#count -= 1;
    this.#bytes -= entry.bytes;
    if (error) entry.answer.reject(error);
    else entry.answer.resolve(position);
    entry.wake();
  }
}
