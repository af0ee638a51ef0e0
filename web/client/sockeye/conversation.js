/**
 * A conversation over many HTTP requests, with the face of a WebSocket. It hears through one response after the other, and speaks
 * through one POST after the other.
 *
 *     new ──{"open":…}──> open ──{"close":…}, gone, cut for too long, close()──> closed
 *      └─ refused, unreachable, something else that answers ───────────────────────┘
 *
 * **Invariant:** each message is heard once. It counts what it has heard, tells that with the next receiver, and what comes on an
 * older one is not listened to.
 * **Invariant:** each message arrives once. A POST says how many messages came before it, so it can be made again until it is answered.
 */

import { isCount, isObject, parse } from './border.js';
import { ATTACHED_MS, HEARTBEAT_MARGIN_MS, HEARTBEAT_MS, POST_DEADLINE_MS, POST_LENGTH, POST_LIMIT, RESUME_WITHIN_MS, SEND_BUFFER_LIMIT } from './limits.js';
import { BadAnswer, isPage, refusal } from './receivers.js';

/** @import { CloseInfo, WebSocketLike } from '../sockeye.d.ts' */
/** @import { Receive } from './receivers.js' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * Why it did not open, or is no more: `refused` is the server's word, `unreachable` says that nobody answered; `blocked` and `cut` are the
 * doing of something on the way.
 * @typedef {CloseInfo & { verdict?: 'refused' | 'unreachable' | 'blocked' | 'cut', retryAfter?: number | undefined }} CloseEventLike
 */

/** Statuses after which the same request may do; 200 is somebody else's. */
const MAY_PASS = new Set([200, 408, 425, 429, 500, 502, 503, 504]);
/** What a receiver is told when another took its place. */
const REPLACED = 4009;

/** @implements {WebSocketLike} */
export class Conversation {
  /** @type {((event: any) => void) | null} */ onopen = null;
  /** @type {((event: any) => void) | null} */ onmessage = null;
  /** @type {((event: any) => void) | null} */ onclose = null;
  /** @type {((event: any) => void) | null} */ onerror = null;
  #base;
  #path;
  #receive;
  #isJson;
  /** @type {'new' | 'open' | 'closed'} */
  #state = 'new';
  #id = '';
  #received = 0;
  #sent = 0;
  /** @type {string[]} */
  #queue = [];
  #buffered = 0;
  #isPosting = false;
  /** The response that is listened to. */
  #receiver = new AbortController();
  /** Aborts what is under way when it is over. */
  #life = new AbortController();
  #silenceMs = HEARTBEAT_MS + HEARTBEAT_MARGIN_MS;
  /** @type {Timer | undefined} */
  #silence;
  /** Whether another receiver took over and nothing was heard since. */
  #wasReplaced = false;
  #leave = () => this.#fail({ code: 1001, reason: 'the page is left' }, true);

  /**
   * @param {URL} base of the WebSocket, as `http:` or `https:` @param {string} path what is added to it @param {Receive} receive
   * @param {boolean} isJson whether all that is sent is JSON; else it travels as strings
   */
  constructor(base, path, receive, isJson) {
    this.#base = base;
    this.#isJson = isJson;
    this.#path = path;
    this.#receive = receive;
    this.#listen();
  }

  get bufferedAmount() {
    return this.#buffered;
  }

  /** @param {string} data */
  send(data) {
    if (this.#state !== 'open') return;
    this.#buffered += data.length;
    if (this.#buffered > SEND_BUFFER_LIMIT) return this.#fail({ code: 1006, reason: 'more waits to be sent than may' }, true);
    this.#queue.push(data);
    this.#speak();
  }

  /** @param {number} [code] @param {string} [reason] */
  close(code = 1005, reason = '') {
    const wasOpen = this.#state === 'open';
    if (this.#state === 'closed') return;
    this.#end();
    queueMicrotask(() => this.onclose?.(wasOpen ? { code, reason } : { code: 1006, reason: 'closed before it opened' }));
  }

  // Hearing.

  async #listen() {
    // When the last response that was any good ended; of one that is silent the server may not know yet.
    let quietSince = Date.now();
    /** @type {CloseEventLike['verdict']} */
    let verdict;
    for (let failures = 0; !this.#isClosed(); failures++) {
      const receiver = new AbortController();
      this.#receiver = receiver;
      const before = this.#received;
      let hasHeard = false;
      const heard = (/** @type {string | undefined} */ frame) => {
        if (receiver.signal.aborted) return;
        hasHeard = true;
        this.#heard(frame);
      };
      this.#watch();
      const started = Date.now();
      verdict = 'cut';
      let isCut = true;
      try {
        await unlessAborted(this.#receive(this.#address(this.#path, { received: before }), receiver.signal, heard), receiver.signal);
      } catch (error) {
        if (!this.#isClosed() && this.#hasFailed(error)) return;
        isCut = !(error instanceof BadAnswer);
        // That nobody answers is an outage.
        if (!hasHeard && isCut && !receiver.signal.aborted) verdict = undefined;
      }
      const lastedMs = Date.now() - started;
      // One that was idle and was cut was there, too: proxies do that before the first heartbeat.
      const wasThere = hasHeard || (isCut && !receiver.signal.aborted && lastedMs >= ATTACHED_MS);
      receiver.abort();
      if (this.#isClosed()) return;
      if (this.#state === 'new') return this.#fail({ code: 1006, reason: 'it ended before it began', verdict: 'blocked' });
      if (this.#received > before) this.#wasReplaced = false;
      if (wasThere) {
        // It is followed by the next one at once; but nobody shall make this spin.
        failures = lastedMs >= ATTACHED_MS || this.#received > before ? -1 : failures;
        quietSince = Date.now();
      }
      if (Date.now() - quietSince >= RESUME_WITHIN_MS) return this.#fail({ code: 1006, reason: 'cut', verdict });
      if (failures >= 0) await this.#rest(Math.min(1000, 100 * 2 ** failures));
    }
  }

  /** @param {unknown} error @returns {boolean} whether it is over */
  #hasFailed(error) {
    const answer = error instanceof BadAnswer ? error : undefined;
    if (this.#state === 'new') {
      const isAbsent = answer && [404, 405, 501].includes(answer.status);
      const verdict = !answer ? 'unreachable' : answer.isServers && !isAbsent ? 'refused' : 'blocked';
      this.#fail({ code: 1006, reason: answer?.message ?? 'unreachable', verdict, retryAfter: answer?.retryAfter });
      return true;
    }
    if (!answer || answer.status === 0 || MAY_PASS.has(answer.status)) return false;
    this.#fail({ code: 1006, reason: answer.message });
    return true;
  }

  /** @param {string | undefined} frame nothing for a heartbeat */
  #heard(frame) {
    this.#watch();
    if (frame === undefined || this.#state === 'closed') return;
    if (this.#state === 'new') return this.#opened(frame);
    const farewell = frame.startsWith('{"close":') ? parse(frame) : undefined;
    if (isObject(farewell) && isObject(farewell.close) && isCount(farewell.close.code)) {
      const { code, reason } = farewell.close;
      return this.#closed(code, typeof reason === 'string' ? reason : '');
    }
    this.#received += 1;
    this.onmessage?.({ data: frame.startsWith('"') ? parse(frame) : frame });
  }

  /** @param {string} frame */
  #opened(frame) {
    const value = parse(frame);
    const open = isObject(value) && isObject(value.open) ? value.open : undefined;
    const farewell = isObject(value) && isObject(value.close) ? value.close : undefined;
    if (farewell) return this.#fail({ code: isCount(farewell.code) ? farewell.code : 1006, reason: String(farewell.reason ?? ''), verdict: 'refused' });
    if (typeof open?.id !== 'string') return this.#fail({ code: 1006, reason: 'something else answers', verdict: 'blocked' });
    this.#id = open.id;
    if (isCount(open.heartbeat_ms)) this.#silenceMs = open.heartbeat_ms + HEARTBEAT_MARGIN_MS;
    this.#watch();
    this.#state = 'open';
    globalThis.document && globalThis.addEventListener('pagehide', this.#leave);
    this.onopen?.({});
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    // A proxy that makes requests twice does that; the next receiver takes over in its turn, and is told if it was meant so.
    if (code === REPLACED && !this.#wasReplaced) {
      this.#wasReplaced = true;
      return this.#receiver.abort();
    }
    this.#fail({ code, reason });
  }

  /** Silence for longer than the server promised is a broken line, whatever the browser thinks of it. */
  #watch() {
    clearTimeout(this.#silence);
    if (this.#state !== 'closed') this.#silence = setTimeout(() => this.#receiver.abort(), this.#silenceMs);
  }

  // Speaking.

  /** What was written in one turn leaves together, and what is written while that is under way leaves after it. */
  async #speak() {
    if (this.#isPosting) return;
    this.#isPosting = true;
    await undefined;
    while (this.#queue.length > 0 && this.#state === 'open') {
      const batch = this.#batch();
      if (!(await this.#deliver(batch))) break;
      this.#sent += batch.length;
      this.#queue.splice(0, batch.length);
      this.#buffered -= batch.reduce((sum, text) => sum + text.length, 0);
    }
    this.#isPosting = false;
  }

  #batch() {
    let length = 0;
    const end = this.#queue.findIndex((text, index) => index >= POST_LIMIT || ((length += text.length) > POST_LENGTH && index > 0));
    return this.#queue.slice(0, end < 0 ? undefined : end);
  }

  /** @param {string[]} batch @returns {Promise<boolean>} whether the server has it; if not, it is over */
  async #deliver(batch) {
    const url = this.#address('send', { sent: this.#sent });
    const body = `[${(this.#isJson ? batch : batch.map((text) => JSON.stringify(text))).join()}]`;
    const started = Date.now();
    for (let failures = 0; this.#state === 'open'; failures++) {
      const bad = await this.#post(url, body);
      if (bad === 'taken') return true;
      if (bad && !MAY_PASS.has(bad.status)) {
        this.#fail({ code: bad.status === 413 ? 1009 : 1006, reason: bad.message }, true);
        break;
      }
      if (Date.now() - started >= POST_DEADLINE_MS) {
        this.#fail({ code: 1006, reason: 'what is sent does not arrive', verdict: 'cut' }, true);
        break;
      }
      await this.#rest(Math.min(POST_DEADLINE_MS, Math.max(bad?.retryAfter ?? 0, Math.min(1000, 100 * 2 ** failures))));
    }
    return false;
  }

  /**
   * The deadline is for all of it: what a refusal says may stall where its status did not.
   * @param {string} url @param {string} body @returns {Promise<'taken' | BadAnswer | undefined>} nothing if nobody answered
   */
  async #post(url, body) {
    const limit = new AbortController();
    const stop = () => limit.abort();
    const timer = setTimeout(stop, POST_DEADLINE_MS);
    this.#life.signal.addEventListener('abort', stop);
    try {
      const answer = await fetch(url, { method: 'POST', body, signal: limit.signal, cache: 'no-store' });
      return answer.ok && !isPage(answer) ? 'taken' : await refusal(answer);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
      this.#life.signal.removeEventListener('abort', stop);
    }
  }

  // The end.

  /** @param {CloseEventLike} event @param {boolean} [leaving] whether the server is to be told */
  #fail(event, leaving = false) {
    if (this.#state === 'closed') return;
    this.#end(leaving);
    this.onclose?.(event);
  }

  #end(leaving = true) {
    const wasOpen = this.#state === 'open';
    this.#state = 'closed';
    clearTimeout(this.#silence);
    this.#receiver.abort();
    this.#life.abort();
    this.#queue = [];
    this.#buffered = 0;
    if (wasOpen) globalThis.document && globalThis.removeEventListener('pagehide', this.#leave);
    if (wasOpen && leaving) farewell(this.#address('leave', {}));
  }

  /** Asked after a wait, and after listeners were called. */
  #isClosed() {
    return this.#state === 'closed';
  }

  /** @param {number} ms @returns {Promise<void>} sooner if it is over */
  #rest(ms) {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#life.signal.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#life.signal.addEventListener('abort', wake);
    });
  }

  /** @param {string} endpoint @param {Record<string, number>} counts */
  #address(endpoint, counts) {
    const url = new URL(this.#base);
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${endpoint}`;
    if (this.#id !== '') {
      url.searchParams.set('id', this.#id);
      for (const [name, count] of Object.entries(counts)) url.searchParams.set(name, String(count));
    }
    return url.href;
  }
}

/**
 * Not every runtime ends a read when it is aborted just as the response has ended.
 * @param {Promise<void>} promise @param {AbortSignal} signal @returns {Promise<void>}
 */
function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
    promise.then(resolve, reject);
  });
}

/** A word to the server that outlives the page. @param {string} url */
function farewell(url) {
  if (globalThis.document && globalThis.navigator?.sendBeacon?.(url)) return;
  fetch(url, { method: 'POST', keepalive: true }).catch(() => {});
}
