/** What waits for one iterator: bounded, and what is lost is said. */

import { deferred } from './events.js';

/** @import { Lost, Message, Position } from '../sockeye.d.ts' */
/** @import { Deferred, SockeyeError } from './events.js' */

/** What waits for one iterator. */
export class Inbox {
  #limit;
  /** @type {(Message | Lost)[]} */
  #items = [];
  /** @type {Deferred<IteratorResult<Message | Lost>>[]} */
  #readers = [];
  /** @type {{ error: SockeyeError | undefined } | undefined} */
  #over;

  /** @param {number} limit */
  constructor(limit) {
    this.#limit = Math.max(1, limit);
  }

  /** @param {Message | Lost} item */
  push(item) {
    if (this.#over) return;
    const reader = this.#readers.shift();
    if (reader) return reader.resolve({ done: false, value: item });
    this.#items.push(item);
    if (this.#items.length > this.#limit) this.#items = [overflow(this.#items)];
  }

  /** @returns {Promise<IteratorResult<Message | Lost>>} */
  next() {
    const value = this.#items.shift();
    if (value) return Promise.resolve({ done: false, value });
    const over = this.#over;
    if (over?.error) {
      this.#over = { error: undefined };
      return Promise.reject(over.error);
    }
    if (over) return Promise.resolve({ done: true, value: undefined });
    /** @type {Deferred<IteratorResult<Message | Lost>>} */
    const reader = deferred();
    this.#readers.push(reader);
    return reader.promise;
  }

  /** @param {SockeyeError | undefined} error */
  end(error) {
    this.#over ??= { error };
    for (const reader of this.#readers.splice(0)) {
      if (error) reader.reject(error);
      else reader.resolve({ done: true, value: undefined });
    }
  }
}

/** One notice in place of all that waited. @param {(Message | Lost)[]} items @returns {Lost} */
function overflow(items) {
  const placed = items.filter((item) => (item.type === 'lost' ? item.to : item.offset) !== undefined);
  const [first, last] = [placed[0], placed.at(-1)];
  const from = first?.type === 'lost' ? first.from : first && positionOf(first, -1);
  const to = last?.type === 'lost' ? last.to : last && positionOf(last, 0);
  return { type: 'lost', channel: items[0]?.channel ?? '', from, to, reason: 'slow' };
}

/** @param {Message} message @param {number} shift @returns {Position | undefined} */
function positionOf({ epoch, offset }, shift) {
  return epoch === undefined || offset === undefined ? undefined : { epoch, offset: offset + shift };
}
