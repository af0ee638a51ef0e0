/** What worked on this network, for pages to come: in `localStorage` where there is a page, else in this process. */

import { isObject, parse } from './border.js';
import { MEMORY_MS } from './limits.js';

/** @import { Transport } from '../sockeye.d.ts' */

/** @type {Map<string, string>} where there is no page */
const process = new Map();

export class Memory {
  #key;

  /** @param {URL} url */
  constructor({ host }) {
    this.#key = `sockeye.transport ${host}`;
  }

  /** @returns {unknown} */
  recall() {
    const kept = parse(this.#read());
    return isObject(kept) && kept.network === network() && typeof kept.until === 'number' && Date.now() < kept.until ? kept.transport : undefined;
  }

  /** @param {Transport} transport */
  keep(transport) {
    this.#write(JSON.stringify({ transport, network: network(), until: Date.now() + MEMORY_MS }));
  }

  forget() {
    this.#write(undefined);
  }

  #read() {
    try {
      return globalThis.document ? localStorage.getItem(this.#key) : process.get(this.#key);
    } catch {
      // A page may be forbidden to remember.
      return undefined;
    }
  }

  /** @param {string | undefined} text */
  #write(text) {
    try {
      if (!globalThis.document) text === undefined ? process.delete(this.#key) : process.set(this.#key, text);
      else if (text === undefined) localStorage.removeItem(this.#key);
      else localStorage.setItem(this.#key, text);
    } catch {
      // Full, or forbidden: then the next page finds out for itself.
    }
  }
}

/** The kind of network, where a browser tells. @returns {string} */
function network() {
  return String(/** @type {any} */ (globalThis.navigator)?.connection?.type ?? '');
}
