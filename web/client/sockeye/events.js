/** Errors, events, and promises that somebody else settles. */

/** @import * as Api from '../sockeye.d.ts' */
/** @template T @typedef {{ promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void }} Deferred */

export class SockeyeError extends Error {
  /**
   * @param {string} code @param {string} [message]
   * @param {{ retryAfter?: number | undefined, close?: Api.CloseInfo | undefined, cause?: unknown }} [more]
   */
  constructor(code, message, { retryAfter, close, cause } = {}) {
    super(message ? `${code}: ${message}` : code, cause === undefined ? undefined : { cause });
    this.name = 'SockeyeError';
    this.code = code;
    this.retryAfter = retryAfter;
    this.close = close;
  }
}

/**
 * `addEventListener` as in the browser, also where there is no DOM; the event is the plain object itself.
 * @template {object} Events
 */
export class Emitter {
  /** @type {Map<keyof Events, Map<Function, boolean>>} listeners, and whether each is called only once */
  #listeners = new Map();

  /** @type {Api.Listenable<Events>['addEventListener']} */
  addEventListener(type, listener, { once = false } = {}) {
    const listeners = this.#listeners.get(type) ?? new Map();
    if (!listeners.has(listener)) this.#listeners.set(type, listeners.set(listener, once));
  }

  /** @type {Api.Listenable<Events>['removeEventListener']} */
  removeEventListener(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  /** @protected @param {keyof Events & string} type */
  listensTo(type) {
    return Boolean(this.#listeners.get(type)?.size || Reflect.get(this, `on${type}`));
  }

  /**
   * What a listener throws is reported as the host reports such things, and keeps nobody else from hearing.
   * @protected @template {keyof Events & string} Type @param {Type} type @param {Omit<Events[Type], 'type'>} detail
   */
  emit(type, detail) {
    const event = { type, ...detail };
    const listeners = this.#listeners.get(type);
    const property = Reflect.get(this, `on${type}`);
    const called = [...(typeof property === 'function' ? [property] : []), ...(listeners?.keys() ?? [])];
    for (const listener of called) {
      if (listeners?.get(listener)) listeners.delete(listener);
      try {
        listener.call(this, event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** @template T @returns {Deferred<T>} */
export function deferred() {
  /** @type {(value: T) => void} */
  let resolve = () => {};
  /** @type {(error: unknown) => void} */
  let reject = () => {};
  /** @type {Promise<T>} */
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
