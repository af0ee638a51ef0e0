/**
 * Commands until they are answered, and how they leave: with a number, which the reply repeats, and those of one turn together. Knows
 * nothing of attempts to connect: it is told when what waits may leave, and when the connection on which it left is no more.
 *
 *     add ──> waiting ──transmit──> sent ──answer──> finished <── timeout, fail
 *                ^                   │                  ^
 *                └── drop, `again` ──┴── drop, else ────┘
 */

import { batches, encode, isObject, readError } from './border.js';
import { SockeyeError } from './events.js';
import { TIMER_LIMIT_MS } from './limits.js';

/** @import { Json } from './border.js' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * @typedef {(error: SockeyeError | undefined, ok: Json) => void} Done
 *
 * @typedef {object} Command one that waits for a connection or for its reply
 * @property {string} body
 * @property {boolean} again harmless to ask on the next connection if this one did not answer
 * @property {boolean} once nobody asks it a second time: lost, it has failed, and whether it took effect is not known
 * @property {number | undefined} id while it is on its way
 * @property {Timer} timer
 * @property {Done} done
 *
 * @typedef {object} Line
 * @property {(message: string) => void} send over the connection that there is
 * @property {() => void} onFinished after each command that was answered, or failed
 */

export class Commands {
  #line;
  #lastId = 0;
  /** @type {Set<Command>} in the order of the calls */
  #all = new Set();
  /** @type {Map<number, Command>} those on their way */
  #sent = new Map();
  /** @type {string[]} written in this turn */
  #outbox = [];

  /** @param {Line} line */
  constructor(line) {
    this.#line = line;
  }

  /** How many wait, for a connection or for their reply. */
  get size() {
    return this.#all.size;
  }

  /** Those on their way. */
  get sent() {
    return [...this.#sent.values()];
  }

  /**
   * It waits until it is transmitted, but no longer than the timeout for its reply.
   * @param {object | string} command or its text without the first brace
   * @param {number} timeout @param {{ again?: boolean, once?: boolean }} kind @param {Done} done
   */
  add(command, timeout, { again = false, once = false }, done) {
    const body = typeof command === 'string' ? command : encode(command);
    const timer = setTimeout(() => this.#finish(waiting, new SockeyeError('timeout', 'no reply')), Math.min(timeout, TIMER_LIMIT_MS));
    /** @type {Command} */
    const waiting = { body, again, once, id: undefined, timer, done };
    this.#all.add(waiting);
    return waiting;
  }

  /** @param {Command} command */
  transmit(command) {
    command.id = ++this.#lastId;
    this.#sent.set(command.id, command);
    this.#write(`{"id":${command.id},${command.body}`);
  }

  transmitWaiting() {
    for (const command of this.#all) {
      if (command.id === undefined) this.transmit(command);
    }
  }

  /** Without a number: nobody answers. @param {string} body its text without the first brace */
  notify(body) {
    this.#write(`{${body}`);
  }

  /** @param {number} id @param {Json} reply */
  answer(id, { error, ok }) {
    const command = this.#sent.get(id);
    // The answer to one that was given up comes late.
    if (!command) return;
    if (isObject(error)) this.#finish(command, readError(error));
    else if (isObject(ok)) this.#finish(command, undefined, ok);
    else this.#finish(command, new SockeyeError('protocol', 'a reply without ok and error'));
  }

  /** What was written in this turn leaves now. */
  flush() {
    for (const message of batches(this.#outbox.splice(0))) {
      try {
        this.#line.send(message);
      } catch {
        // It is closing: the event that follows says so, and what was not answered is dealt with there.
      }
    }
  }

  /** The connection is no more: what was on its way is asked again later, or failed. @param {SockeyeError} error */
  drop(error) {
    this.#outbox = [];
    const sent = this.sent;
    this.#sent.clear();
    for (const command of sent) {
      command.id = undefined;
      if (!command.again) this.#finish(command, error);
    }
  }

  /** There will be no connection. @param {SockeyeError} error */
  fail(error) {
    for (const command of [...this.#all]) this.#finish(command, error);
  }

  /** @param {Command} command @param {SockeyeError | undefined} error @param {Json} [ok] */
  #finish(command, error, ok = {}) {
    if (!this.#all.delete(command)) return;
    if (command.id !== undefined) this.#sent.delete(command.id);
    clearTimeout(command.timer);
    command.done(error, ok);
    this.#line.onFinished();
  }

  /** What is written in one turn leaves together. @param {string} text */
  #write(text) {
    const outbox = this.#outbox;
    if (outbox.push(text) > 1) return;
    queueMicrotask(() => {
      // Else the connection for which it was written is no more.
      if (this.#outbox === outbox) this.flush();
    });
  }
}
