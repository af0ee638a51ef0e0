/**
 * Which transport gets through here. Best first: WebSocket, a stream over HTTP, long-polling. One `Dial` is one way in: it tries the
 * transport that is in use, and those below it when that is refused or takes too long; the first to open is it.
 *
 * Down it goes
 * - in the same dial, when the upgrade is refused (whatever the status: a page is not told), or no answer comes within 2.5 s (the
 *   upgrade was swallowed, the stream is buffered), or something else than the server answers;
 * - for the next dial, when connections were cut within 5 s of their opening, two in a row before a word was said or four after some,
 *   or when one opened and never said a word.
 *
 * It stays where it is, when the server itself says no (401, 403, 429, 503 with its JSON, a Close with a code), and when nobody answers at
 * all: that is an outage. Then nothing more is tried; but what is opening may still open, since the two ways need not be one. A transport
 * that has held has two attempts alone before the others are tried. Up it goes by `climb`.
 */

import { CUTS_LIMIT, CUT_WITHIN_MS, FALLBACK_AFTER_MS, PATIENCE, PROTOCOL, STABLE_AFTER_MS } from './limits.js';
import { Memory } from './memory.js';
import { available, open } from './transports.js';

/** @import { ConnectOptions, Transport, WebSocketLike } from '../sockeye.d.ts' */
/** @import { CloseEventLike } from './conversation.js' */
/** @import { Place, WebSocketConstructor } from './transports.js' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

export class Ladder {
  #place;
  #rungs;
  #memory;
  /** The rung in use. */
  #at = 0;
  /** Connections in a row that were cut at once. */
  #cuts = 0;
  /** Dials in a row that opened nothing. */
  #failures = 0;
  /** Whether the rung in use has held for a while. */
  #hasHeld = false;

  /** @param {URL} url @param {Pick<ConnectOptions, 'transports' | 'WebSocket'>} [options] @param {string[]} [protocols] */
  constructor(url, { transports, WebSocket } = {}, protocols = [PROTOCOL]) {
    const given = WebSocket ?? globalThis.WebSocket;
    /** @type {Place} */
    this.#place = { url, protocols, WebSocket: /** @type {WebSocketConstructor | undefined} */ (given) };
    this.#rungs = available(transports, this.#place);
    if (this.#rungs.length === 0) throw new TypeError('no transport here: no global WebSocket, none as the option WebSocket, and no other is wanted');
    this.#memory = new Memory(url);
    const remembered = this.#memory.recall();
    this.#at = Math.max(0, this.#rungs.findIndex((name) => name === remembered));
  }

  /** Whether a better transport than the one in use is wanted. */
  get isBelow() {
    return this.#at > 0;
  }

  /** The way in, to be started. */
  dial() {
    const isPatient = this.#hasHeld && this.#failures < PATIENCE;
    return new Dial(this.#place, this.#rungs.slice(this.#at, isPatient ? this.#at + 1 : undefined), {
      opened: (name) => this.#opened(name),
      failed: () => this.#failed(),
      ended: (name, life) => this.#ended(name, life),
    });
  }

  /** A way up, to be started. It counts when it is adopted. */
  climb() {
    return new Dial(this.#place, this.#rungs.slice(0, this.#at), undefined);
  }

  /** What was climbed to is in use now. @param {Dial} dial */
  adopt(dial) {
    if (dial.transport) this.#opened(dial.transport);
    dial.reportTo({ opened: () => {}, failed: () => {}, ended: (name, life) => this.#ended(name, life) });
  }

  /** Another network, perhaps: what held there need not hold here. */
  moved() {
    this.#hasHeld = false;
    this.#failures = 0;
  }

  /** @param {Transport} name */
  #opened(name) {
    const rung = this.#rungs.indexOf(name);
    this.#failures = 0;
    if (rung !== this.#at) this.#use(rung);
    if (rung === 0) this.#memory.forget();
    else this.#memory.keep(name);
  }

  #failed() {
    this.#failures += 1;
    // A server that falls is away for a while; a wall lets the next one open as the one before.
    this.#cuts = 0;
    // What was right here is not any more: everything is tried again.
    if (this.#failures >= PATIENCE && this.#at > 0) this.#use(0);
  }

  /** @param {Transport} name @param {Life} life */
  #ended(name, { ms, hasHeard, close }) {
    if (this.#rungs[this.#at] !== name) return;
    if (ms >= STABLE_AFTER_MS && hasHeard) {
      this.#hasHeld = true;
      this.#cuts = 0;
    }
    const isSilent = !hasHeard && ms >= FALLBACK_AFTER_MS;
    const isCut = (close === undefined ? isSilent : close.code === 1006) && (isSilent || ms < CUT_WITHIN_MS || close?.verdict === 'cut');
    if (!isCut) return;
    // One that had begun to talk may have been the server's own fall.
    this.#cuts += isSilent ? CUTS_LIMIT : hasHeard ? 1 : 2;
    if (this.#cuts >= CUTS_LIMIT && this.#at + 1 < this.#rungs.length) this.#use(this.#at + 1);
  }

  /** @param {number} rung */
  #use(rung) {
    this.#at = rung;
    this.#cuts = 0;
    this.#hasHeld = false;
  }
}

/**
 * How a connection was: how long it held, whether anything was heard, and how it was closed, which is nothing if this end did.
 * @typedef {{ ms: number, hasHeard: boolean, close: CloseEventLike | undefined }} Life
 *
 * @typedef {object} Report
 * @property {(name: Transport) => void} opened
 * @property {() => void} failed
 * @property {(name: Transport, life: Life) => void} ended
 */

/** One way in, with the face of a WebSocket. @implements {WebSocketLike} */
export class Dial {
  /** @type {((event: any) => void) | null} */ onopen = null;
  /** @type {((event: any) => void) | null} */ onmessage = null;
  /** @type {((event: any) => void) | null} */ onclose = null;
  /** @type {((event: any) => void) | null} */ onerror = null;
  /** What it was greeted with: by the time it is used, there may be a newer one. @type {string | undefined} */
  token;
  #place;
  /** Those that were not tried yet. */
  #rungs;
  #report;
  /** @type {Map<Transport, WebSocketLike>} those that are trying */
  #trying = new Map();
  /** Why nothing else is tried: the server's own word, or that nobody answers. @type {CloseEventLike | undefined} */
  #verdict;
  /** @type {{ name: Transport, socket: WebSocketLike, since: number, hasHeard: boolean } | undefined} */
  #winner;
  /** @type {Timer | undefined} */
  #timer;
  #isOver = false;

  /** @param {Place} place @param {Transport[]} rungs @param {Report | undefined} report */
  constructor(place, rungs, report) {
    this.#place = place;
    this.#rungs = rungs;
    this.#report = report;
  }

  /** The one that opened. */
  get transport() {
    return this.#winner?.name;
  }

  /** What was said of all of them, while none of them has opened. */
  get verdict() {
    return this.#winner ? undefined : this.#verdict;
  }

  get bufferedAmount() {
    return this.#winner?.socket.bufferedAmount ?? 0;
  }

  /** What is tried, is tried from now on. */
  start() {
    this.#next({ code: 1006, reason: '' });
    return this;
  }

  /** @param {Report} report */
  reportTo(report) {
    this.#report = report;
  }

  /** @param {string} data */
  send(data) {
    this.#winner?.socket.send(data);
  }

  /** @param {number} [code] @param {string} [reason] */
  close(code, reason) {
    if (this.#isOver) return;
    const wasOpen = this.#winner !== undefined;
    if (this.#winner) this.#report?.ended(this.#winner.name, this.#life(this.#winner, undefined));
    else this.#report?.failed();
    this.#finish();
    this.#winner?.socket.close(code, reason);
    queueMicrotask(() => this.onclose?.(wasOpen ? { code: code ?? 1005, reason: reason ?? '' } : { code: 1006, reason: '' }));
  }

  /** The next one, beside those that are trying. @param {CloseEventLike} close why it is its turn @returns {void} */
  #next(close) {
    clearTimeout(this.#timer);
    const name = this.#rungs.shift();
    if (!name) return this.#trying.size === 0 ? this.#fail(this.#verdict ?? close) : undefined;
    if (this.#rungs.length > 0) this.#timer = setTimeout(() => this.#next(close), FALLBACK_AFTER_MS);
    /** @type {WebSocketLike} */
    let socket;
    try {
      socket = open(name, this.#place);
    } catch {
      return this.#next({ code: 1006, reason: `no ${name} could be made` });
    }
    this.#trying.set(name, socket);
    socket.onopen = () => this.#opened(name, socket);
    socket.onclose = (event) => this.#closed(name, socket, event);
    socket.onmessage = ({ data }) => this.#heard(socket, data);
    // Says nothing that the close does not; but without a listener some implementations throw.
    socket.onerror = () => {};
  }

  /** @param {Transport} name @param {WebSocketLike} socket */
  #opened(name, socket) {
    if (this.#isOver || this.#winner) return socket.close(1000);
    this.#trying.delete(name);
    this.#winner = { name, socket, since: Date.now(), hasHeard: false };
    this.#stopTrying();
    this.#report?.opened(name);
    this.onopen?.({});
  }

  /** @param {WebSocketLike} socket @param {unknown} data */
  #heard(socket, data) {
    if (this.#winner?.socket !== socket || this.#isOver) return;
    this.#winner.hasHeard = true;
    this.onmessage?.({ data });
  }

  /** @param {Transport} name @param {WebSocketLike} socket @param {any} event */
  #closed(name, socket, event) {
    /** @type {CloseEventLike} */
    const close = { code: event?.code ?? 1006, reason: event?.reason ?? '', verdict: event?.verdict, retryAfter: event?.retryAfter };
    if (this.#winner?.socket === socket && !this.#isOver) {
      this.#report?.ended(name, this.#life(this.#winner, close));
      this.#finish();
      this.onclose?.(close);
    } else if (this.#trying.delete(name) && !this.#isOver) {
      // Of the server's own word there is no appeal; and where nobody answers, nobody answers the others. But one that is
      // opening was answered already, perhaps: where only its path leads to the server, or only conversations were too many.
      if (close.verdict === 'refused' || close.verdict === 'unreachable') {
        this.#verdict = close;
        this.#rungs = [];
      }
      this.#next(close);
    }
  }

  /** @param {CloseEventLike} close */
  #fail(close) {
    this.#finish();
    this.#report?.failed();
    this.onclose?.(close);
  }

  #finish() {
    this.#isOver = true;
    this.#stopTrying();
  }

  #stopTrying() {
    clearTimeout(this.#timer);
    const others = [...this.#trying.values()];
    this.#trying.clear();
    this.#rungs = [];
    for (const socket of others) socket.close(1000);
  }

  /** @param {{ since: number, hasHeard: boolean }} winner @param {CloseEventLike | undefined} close @returns {Life} */
  #life({ since, hasHeard }, close) {
    return { ms: Date.now() - since, hasHeard, close };
  }
}
