/** One connection after the other, when to try again, and when commands may leave. Knows nothing of channels. */

import { address, encode, isCount, isLoopback, isObject, parse, readError, readPause } from './border.js';
import { Climb } from './climb.js';
import { Commands } from './commands.js';
import { SockeyeError, deferred } from './events.js';
import { Ladder } from './ladder.js';
import { CLOSED_AS, CONNECT_DEADLINE_MS, FINAL, PING_MARGIN_MS, PROBE_MS, STABLE_AFTER_MS, SWITCH_WITHIN_MS, TIMEOUT_MS, VOLATILE_BACKLOG_BYTES, backoff } from './limits.js';
import { watchPage } from './page.js';

/** @import * as Api from '../sockeye.d.ts' */
/** @import { ConnectOptions, State } from '../sockeye.d.ts' */
/** @import { Json } from './border.js' */
/** @import { Done } from './commands.js' */
/** @import { CloseEventLike } from './conversation.js' */
/** @import { Deferred } from './events.js' */
/** @import { Dial } from './ladder.js' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * @typedef {object} Attempt from dialling to the end of that connection
 * @property {Dial | undefined} socket
 * @property {Timer | undefined} deadline
 * @property {number | undefined} openSince
 * @property {Api.CloseInfo | undefined} bye what the server said before it closed
 *
 * @typedef {object} Handlers
 * @property {(state: State) => void} onState
 * @property {() => void} onOpen greeted; before anything else is sent
 * @property {() => void} onDown the opposite
 * @property {(channel: string, object: Json) => void} onEvent
 * @property {(error: SockeyeError) => void} onError
 * @property {(inMs: number) => void} onExpiring
 */

export class Connection {
  #url;
  #options;
  #handlers;
  /** @type {State} */
  #state = { name: 'connecting' };
  /** @type {Attempt | undefined} */
  #attempt;
  /** @type {string | undefined} */
  #token;
  #failures = 0;
  /** No attempt before this, whatever gives hope: the server asked for it. */
  #notBefore = 0;
  /** @type {Timer | undefined} */
  #pause;
  /** @type {Set<'offline' | 'frozen'>} what makes an attempt pointless now */
  #halts = new Set();
  /** @type {() => void} */
  #unwatch = () => {};
  /** @type {Deferred<void>} */
  #opening = deferred();
  #lastHeard = 0;
  #probing = false;
  /** Whether anything was heard since the ping. */
  #answered = false;
  #refreshing = false;
  /** A server that says it again and again does not make this client ask for tokens as often. */
  #refreshedAt = 0;
  /** @type {Timer | undefined} */
  #quiet;
  #commands;
  #ladder;
  #climb;
  /**
   * A better connection, which takes over when nothing is on its way on this one; when that takes too long, when nothing is that would
   * fail by it.
   * @type {{ dial: Dial, greeting: Json, timer: Timer, isLate: boolean } | undefined}
   */
  #better;

  /** @param {string | { readonly href: string }} url @param {ConnectOptions} options @param {Handlers} handlers */
  constructor(url, options, handlers) {
    this.#url = address(url);
    this.#options = options;
    this.#handlers = handlers;
    this.#token = options.token;
    this.#commands = new Commands({
      send: (message) => this.#attempt?.socket?.send(message),
      onFinished: () => this.#finished(),
    });
    this.#ladder = new Ladder(this.#url, options);
    this.#climb = new Climb(this.#ladder, {
      prove: (dial, proved) => this.#prove(dial, proved),
      ready: (dial, greeting) => this.#climbed(dial, greeting),
    }, options.climbAfter);
  }

  get state() {
    return this.#state;
  }

  start() {
    this.#unwatch = watchPage({
      offline: () => this.#offline(),
      online: () => this.#online(),
      frozen: () => this.#freeze(),
      resumed: () => this.#resume(),
      shown: () => this.#hurry(),
      moved: () => this.#moved(),
    });
    // A name of this machine is reached without a network, and some browsers call a machine without one offline.
    if (globalThis.navigator?.onLine === false && !isLoopback(this.#url)) this.#halts.add('offline');
    this.#next();
  }

  /** @param {SockeyeError | undefined} error */
  close(error) {
    if (this.#state.name === 'closed') return;
    this.#drop(error ?? new SockeyeError('closed'));
    if (this.#isClosed()) return;
    clearTimeout(this.#pause);
    this.#unwatch();
    this.#commands.fail(error ?? new SockeyeError('closed'));
    this.#enter({ name: 'closed', error });
    this.#opening.resolve();
  }

  /** @returns {Promise<void>} when open, or closed for ever */
  opened() {
    return this.#state.name === 'open' || this.#state.name === 'closed' ? Promise.resolve() : this.#opening.promise;
  }

  /**
   * @param {object | string} command @param {{ timeout?: number | undefined, again?: boolean, once?: boolean }} [options]
   * @returns {Promise<Json>}
   */
  request(command, options) {
    return new Promise((resolve, reject) => {
      this.send(command, options ?? {}, (error, ok) => (error ? reject(error) : resolve(ok)));
    });
  }

  /**
   * Now if open, else as soon as it is. `done` is called in the same turn in which the reply is read, before what follows it.
   * @param {object | string} command or its text without the first brace
   * @param {{ timeout?: number | undefined, again?: boolean, once?: boolean }} options
   * @param {Done} done
   */
  send(command, { timeout = this.#options.timeout ?? TIMEOUT_MS, ...kind }, done) {
    if (this.#state.name === 'closed') return done(new SockeyeError('closed'), {});
    const waiting = this.#commands.add(command, timeout, kind, done);
    if (this.#state.name === 'open') this.#commands.transmit(waiting);
  }

  /** How many commands wait. */
  get waiting() {
    return this.#commands.size;
  }

  /** Without a reply, and only if it can leave at once. @param {string} body */
  sendVolatile(body) {
    if (this.#state.name !== 'open' || (this.#attempt?.socket?.bufferedAmount ?? 0) > VOLATILE_BACKLOG_BYTES) return;
    this.#commands.notify(body);
  }

  /** @param {string} token */
  async refresh(token) {
    this.#token = token;
    if (this.#state.name === 'open') await this.request({ refresh: { token } }, { once: true });
  }

  // One attempt after the other.

  /** Dials, or waits until that makes sense. */
  #next() {
    clearTimeout(this.#pause);
    const [halt] = this.#halts;
    if (halt) return this.#enter({ name: 'paused', reason: halt });
    /** @type {Attempt} */
    const attempt = { socket: undefined, deadline: undefined, openSince: undefined, bye: undefined };
    this.#attempt = attempt;
    const tooLate = { code: 1006, reason: 'no answer in time' };
    attempt.deadline = setTimeout(() => this.#ended(attempt.socket?.verdict ?? tooLate), CONNECT_DEADLINE_MS);
    this.#enter({ name: 'connecting' });
    if (this.#attempt !== attempt) return;
    if (this.#token === undefined && this.#options.getToken) this.#dialWithToken(attempt);
    else this.#dial(attempt);
  }

  /** @param {Attempt} attempt */
  async #dialWithToken(attempt) {
    try {
      const token = await this.#options.getToken?.();
      if (this.#attempt !== attempt) return;
      this.#token = token;
    } catch (cause) {
      if (this.#attempt !== attempt) return;
      // Whoever gives out the tokens can say that there will be none.
      if (cause instanceof SockeyeError && FINAL.has(cause.code)) return this.close(cause);
      this.#handlers.onError(new SockeyeError('unauthorized', 'there is no token', { cause }));
      return this.#lost({ code: 1006, reason: 'no token' });
    }
    this.#dial(attempt);
  }

  /** @param {Attempt} attempt */
  #dial(attempt) {
    const socket = this.#ladder.dial();
    this.#listen(attempt, socket);
    socket.start();
  }

  /** @param {Attempt} attempt @param {Dial} socket */
  #listen(attempt, socket) {
    attempt.socket = socket;
    // Late events of an older socket change nothing.
    const ifCurrent = (/** @type {(event: any) => void} */ run) => (/** @type {any} */ event) => {
      if (this.#attempt === attempt) run(event);
    };
    socket.onopen = ifCurrent(() => this.#greet(attempt, socket));
    socket.onmessage = ifCurrent((event) => this.#heard(attempt, event.data));
    socket.onclose = ifCurrent((/** @type {CloseEventLike} */ close) => this.#ended(close));
  }

  /** @param {CloseEventLike} close */
  #ended({ code, reason, retryAfter }) {
    this.#askedToWait(readPause(retryAfter) ?? 0);
    this.#lost({ code, reason });
  }

  /**
   * Nothing else leaves before the answer: what is sent behind a refused token would be done in the name of nobody.
   * @param {Attempt} attempt @param {Dial} socket
   */
  #greet(attempt, socket) {
    socket.token = this.#token;
    const hello = this.#commands.add(this.#hello(), CONNECT_DEADLINE_MS, {}, (error, ok) => {
      if (this.#attempt !== attempt) return;
      if (error) this.#refused(error);
      else this.#greeted(attempt, ok);
    });
    this.#commands.transmit(hello);
  }

  #hello() {
    return { connect: { token: this.#token, client: this.#options.name } };
  }

  /** What waited leaves before listeners are told, who may add to it, or close. @param {Attempt} attempt @param {Json} ok */
  #greeted(attempt, ok) {
    clearTimeout(attempt.deadline);
    attempt.openSince = Date.now();
    this.#keepAlive(ok.ping_every_ms);
    const session = typeof ok.session === 'string' ? ok.session : '';
    this.#state = { name: 'open', session, user: typeof ok.user === 'string' ? ok.user : undefined, transport: attempt.socket?.transport ?? 'websocket' };
    if (this.#token !== undefined && attempt.socket?.token !== this.#token) this.refresh(this.#token).catch((error) => this.#isClosed() || this.#handlers.onError(error));
    this.#handlers.onOpen();
    this.#commands.transmitWaiting();
    this.#opening.resolve();
    this.#handlers.onState(this.#state);
    if (this.#attempt === attempt) this.#climb.start();
  }

  // A better transport.

  /** @param {Dial} dial @param {(greeting: Json) => void} proved */
  #prove(dial, proved) {
    dial.onmessage = ({ data }) => {
      const reply = parse(data);
      if (isObject(reply) && reply.id === 1 && isObject(reply.ok)) proved(reply.ok);
      else if (isObject(reply) && (reply.error || reply.bye)) dial.close(1000);
    };
    dial.token = this.#token;
    dial.send(`{"id":1,${encode(this.#hello())}`);
  }

  /** @param {Dial} dial @param {Json} greeting */
  #climbed(dial, greeting) {
    const timer = setTimeout(() => {
      better.isLate = true;
      this.#switchIfQuiet();
    }, SWITCH_WITHIN_MS);
    const better = { dial, greeting, timer, isLate: false };
    this.#better = better;
    dial.onclose = () => {
      if (this.#better?.dial !== dial) return;
      this.#leaveBetter();
      this.#climb.start();
    };
    this.#switchIfQuiet();
  }

  /** What came with an answer is heard before another transport takes over. */
  #finished() {
    if (this.#better) queueMicrotask(() => this.#switchIfQuiet());
  }

  /** What is asked once only ends in its own time: the connection that it is on is as good as ever. */
  #switchIfQuiet() {
    const better = this.#better;
    if (better && this.#commands.sent.every(({ once }) => better.isLate && !once)) this.#switch();
  }

  #leaveBetter() {
    const better = this.#better;
    this.#better = undefined;
    clearTimeout(better?.timer);
    return better;
  }

  /** As a break and a reconnect, but that the next connection is there already. What was on its way is asked again. */
  #switch() {
    const better = this.#leaveBetter();
    if (!better) return;
    this.#commands.flush();
    this.#drop(new SockeyeError('disconnected', 'another transport'));
    if (this.#isClosed() || this.#attempt) return better.dial.close(1000);
    this.#ladder.adopt(better.dial);
    /** @type {Attempt} */
    const attempt = { socket: undefined, deadline: undefined, openSince: undefined, bye: undefined };
    this.#attempt = attempt;
    this.#listen(attempt, better.dial);
    this.#greeted(attempt, better.greeting);
  }

  /** @param {SockeyeError} error */
  #refused(error) {
    if (error.code === 'disconnected') return;
    const isOld = this.#attempt?.socket?.token !== this.#token;
    const stale = isOld || (error.code === 'token_expired' && this.#options.getToken !== undefined);
    if (stale && !isOld) this.#token = undefined;
    if (FINAL.has(error.code) && !stale) return this.close(error);
    this.#handlers.onError(error);
    this.#askedToWait(error.retryAfter ?? 0);
    this.#lost({ code: 1006, reason: error.message });
  }

  /** The attempt is over; what next? @param {Api.CloseInfo} close */
  #lost(close) {
    const attempt = this.#attempt;
    if (!attempt) return;
    // A connection that broke off instead of closing: the farewell says more than that.
    const told = (close.code === 1006 || close.code === 1005) && attempt.bye ? attempt.bye : close;
    const now = Date.now();
    if (attempt.openSince !== undefined && now - attempt.openSince >= STABLE_AFTER_MS) this.#failures = 0;
    this.#drop(new SockeyeError('disconnected', `${told.code} ${told.reason}`.trim(), { close: told }));
    if (this.#isClosed() || this.#attempt) return;
    if (told.code >= 4000 && told.code < 4100) {
      const code = CLOSED_AS.get(told.code) ?? 'closed';
      return this.close(new SockeyeError(code, told.reason || `the server closed with ${told.code}`, { close: told }));
    }
    if (told.code === 4100 && this.#options.getToken) this.#token = undefined;
    if (this.#halts.size > 0) return this.#next();
    const pause = Math.max(backoff(this.#failures++), this.#notBefore - now);
    this.#wait(now + pause, told);
  }

  /** @param {number} until @param {Api.CloseInfo} close */
  #wait(until, close) {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.#next(), Math.max(0, until - Date.now()));
    this.#enter({ name: 'waiting', until, close });
  }

  /** The connection is no more: what was on its way is asked again later, or failed. @param {SockeyeError} error */
  #drop(error) {
    const attempt = this.#attempt;
    if (!attempt) return;
    this.#attempt = undefined;
    clearTimeout(attempt.deadline);
    clearTimeout(this.#quiet);
    this.#climb.stop();
    this.#leaveBetter()?.dial.close(1000);
    this.#probing = false;
    // Where it is closed already, this does nothing.
    attempt.socket?.close(1000);
    if (attempt.openSince !== undefined) {
      this.#opening = deferred();
      this.#state = { name: 'connecting' };
      this.#handlers.onDown();
    }
    this.#commands.drop(error);
  }

  // What is heard.

  /** @param {Attempt} attempt @param {unknown} data */
  #heard(attempt, data) {
    this.#lastHeard = Date.now();
    this.#answered = true;
    const value = parse(data);
    for (const object of Array.isArray(value) ? value : [value]) {
      // A listener may have ended it.
      if (this.#attempt !== attempt) return;
      if (isObject(object)) this.#take(attempt, object);
      else this.#nonsense(value === undefined ? 'not JSON, not text, or too long' : 'neither an object nor a list of objects');
    }
  }

  /** @param {Attempt} attempt @param {Json} object */
  #take(attempt, object) {
    if (isCount(object.id)) {
      this.#commands.answer(object.id, object);
    } else if (typeof object.on === 'string') {
      this.#handlers.onEvent(object.on, object);
    } else if (isObject(object.bye)) {
      const { code, reason, retry_after_ms: hint } = object.bye;
      attempt.bye = { code: isCount(code) ? code : 1006, reason: typeof reason === 'string' ? reason : '' };
      this.#askedToWait(readPause(hint) ?? 0);
    } else if (isObject(object.expiring)) {
      this.#expiring(readPause(object.expiring.in_ms) ?? 0);
    } else if (isObject(object.error)) {
      this.#handlers.onError(readError(object.error));
    } else {
      this.#nonsense('an object of no known kind');
    }
  }

  /** @param {string} what */
  #nonsense(what) {
    this.#handlers.onError(new SockeyeError('protocol', what));
  }

  /** @param {number} ms */
  #askedToWait(ms) {
    this.#notBefore = Math.max(this.#notBefore, Date.now() + ms);
  }

  /** @param {number} inMs */
  async #expiring(inMs) {
    if (!this.#options.getToken) return this.#handlers.onExpiring(inMs);
    if (this.#refreshing || Date.now() - this.#refreshedAt < STABLE_AFTER_MS) return;
    this.#refreshing = true;
    try {
      const token = await this.#options.getToken();
      if (token !== undefined) await this.refresh(token);
    } catch (cause) {
      // Then the server ends the connection, and the next one begins with a token of its own.
      if (!this.#isClosed()) this.#handlers.onError(cause instanceof SockeyeError ? cause : new SockeyeError('token_expired', 'there is no new token', { cause }));
    } finally {
      this.#refreshing = false;
      this.#refreshedAt = Date.now();
    }
  }

  // Is it still there?

  /** @param {unknown} pingEveryMs */
  #keepAlive(pingEveryMs) {
    clearTimeout(this.#quiet);
    const promised = readPause(pingEveryMs);
    if (!promised) return;
    const limit = promised + PING_MARGIN_MS;
    const check = () => {
      const quietMs = Date.now() - this.#lastHeard;
      if (quietMs >= limit) this.#probe(this.#options.timeout ?? TIMEOUT_MS);
      this.#quiet = setTimeout(check, quietMs >= limit ? limit : limit - quietMs);
    };
    this.#quiet = setTimeout(check, limit);
  }

  /**
   * Pings of WebSocket itself are hidden from pages, so this is one of the protocol's. Whatever is heard is an answer.
   * @param {number} timeout
   */
  #probe(timeout) {
    const attempt = this.#attempt;
    if (this.#state.name !== 'open' || this.#probing || !attempt) return;
    this.#probing = true;
    this.#answered = false;
    this.send({ ping: {} }, { timeout }, (error) => {
      if (this.#attempt !== attempt) return;
      this.#probing = false;
      if (error?.code === 'timeout' && !this.#answered) this.#lost({ code: 1006, reason: 'no answer to a ping' });
    });
  }

  // The page and the machine.

  #offline() {
    if (isLoopback(this.#url)) return;
    this.#halts.add('offline');
    // It may be the browser's mistake: a connection that answers is kept.
    if (this.#state.name === 'open') this.#probe(PROBE_MS);
    else this.#halt({ code: 1006, reason: 'offline' });
  }

  #online() {
    this.#halts.delete('offline');
    this.#moved();
    this.#hurry();
  }

  /** Perhaps on another network: the old connection may lead nowhere from here, and a better transport somewhere. */
  #moved() {
    this.#ladder.moved();
    this.#climb.hurry();
    this.#probe(PROBE_MS);
  }

  /** Nobody reads while the page is frozen; the server need not keep anything for it, history does. */
  #freeze() {
    this.#halts.add('frozen');
    this.#halt({ code: 1000, reason: 'frozen' });
  }

  #resume() {
    this.#halts.delete('frozen');
    this.#hurry();
  }

  /** @param {Api.CloseInfo} close */
  #halt(close) {
    if (this.#state.name === 'closed' || this.#state.name === 'paused') return;
    this.#drop(new SockeyeError('disconnected', close.reason, { close }));
    if (!this.#attempt && !this.#isClosed()) this.#next();
  }

  /** There is hope: no need to sit out a pause of one's own. One that the server asked for is kept. */
  #hurry() {
    const state = this.#state;
    if (state.name === 'open' && Date.now() - this.#lastHeard > PING_MARGIN_MS) this.#probe(PROBE_MS);
    if (state.name !== 'waiting' && (state.name !== 'paused' || this.#halts.size > 0)) return;
    if (Date.now() >= this.#notBefore) return this.#next();
    const close = state.name === 'waiting' ? state.close : { code: 1006, reason: state.reason };
    this.#wait(this.#notBefore, close);
  }

  /** Asked after listeners were called, who may have closed it. */
  #isClosed() {
    return this.#state.name === 'closed';
  }

  /** @param {State} state */
  #enter(state) {
    this.#state = state;
    this.#handlers.onState(state);
  }
}
