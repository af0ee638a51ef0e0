/**
 * One WebSocket, or what has the face of one, that comes back: the connection of each demo's page.
 *
 *              ┌──────── opened ────────> open ───┐
 *   start ─> connecting                           │ closed
 *     ^        └─ refused, lost, too slow ─┐      │
 *     │                                    v      v
 *     └──── pause over, or retryNow() ──── waiting      (stop() leads from anywhere to stopped)
 *
 * Nothing here touches the document except `pageStatus`, so the machine is tested in node with a clock of its own.
 */

/** The first pause is somewhere between nothing and this. */
export const BACKOFF_BASE_MS = 500;
/** However often it failed, no pause is longer than this. */
export const BACKOFF_CAP_MS = 20_000;
/** An attempt that has neither opened nor failed by then is given up. */
export const CONNECT_DEADLINE_MS = 10_000;
/** Only a connection that held this long makes the next pause short again: a server that accepts and drops is not stormed. */
export const STABLE_AFTER_MS = 5_000;

/**
 * @typedef {{ code: number, reason: string }} CloseInfo
 *
 * @typedef {(
 *   | { name: 'connecting', socket: Socket, deadline: Timer }
 *   | { name: 'open', socket: Socket, since: number }
 *   | { name: 'waiting', until: number, timer: Timer, close: CloseInfo }
 *   | { name: 'stopped' }
 * )} State
 *
 * @typedef {ReturnType<typeof setTimeout>} Timer
 *
 * What is used of a WebSocket; and what carries it, where it may be something else.
 * @typedef {object} Socket
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {number} bufferedAmount
 * @property {import('./transport.js').Transport | undefined} [transport]
 * @property {(data: string | ArrayBuffer) => void} send
 * @property {(code?: number) => void} close
 *
 * What the machine needs from its surroundings.
 * @typedef {object} Environment
 * @property {(url: string, protocols: string[]) => Socket} connect
 * @property {(run: () => void, afterMs: number) => Timer} later
 * @property {(timer: Timer) => void} cancel
 * @property {() => number} now in milliseconds
 * @property {() => number} random from 0 up to, not including, 1
 *
 * @typedef {object} Handlers
 * @property {(state: State) => void} [onState]
 * @property {(data: unknown) => void} [onMessage] a string or an ArrayBuffer
 */

/**
 * How long to pause after so many failures in a row: "full jitter", anything from nothing to a ceiling that doubles,
 * so that a thousand pages that lost the same server do not all come back in the same instant.
 * @param {number} failures
 * @param {() => number} [random]
 * @returns {number} milliseconds
 */
export function backoff(failures, random = Math.random) {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.max(0, failures));
}

/**
 * The WebSocket address on the same server, at the path of the page itself unless another is given: every demo answers both at one path.
 * @param {{ protocol: string, host: string, pathname: string }} location
 * @param {string} [path]
 */
export function socketAddress(location, path = location.pathname) {
  return `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}${path}`;
}

/** @returns {Omit<Environment, 'connect'>} */
function browser() {
  return {
    later: (run, afterMs) => setTimeout(run, afterMs),
    cancel: (timer) => clearTimeout(timer),
    now: () => Date.now(),
    random: () => Math.random(),
  };
}

export class LiveSocket {
  #url;
  #handlers;
  #environment;
  #failures = 0;
  /** @type {State} */
  #state = { name: 'stopped' };

  /**
   * @param {string} url
   * @param {Handlers} handlers
   * @param {Environment} environment
   */
  constructor(url, handlers, environment) {
    this.#url = url;
    this.#handlers = handlers;
    this.#environment = environment;
  }

  get state() {
    return this.#state;
  }

  get isOpen() {
    return this.#state.name === 'open';
  }

  /** Bytes handed over but not yet on their way; 0 while not connected. */
  get bufferedAmount() {
    return this.#state.name === 'open' ? this.#state.socket.bufferedAmount : 0;
  }

  /** What carries it while it is open, where that may be something else than a WebSocket. */
  get transport() {
    return this.#state.name === 'open' ? this.#state.socket.transport : undefined;
  }

  start() {
    if (this.#state.name === 'stopped') this.#connect();
  }

  stop() {
    const state = this.#state;
    if (state.name === 'waiting') this.#environment.cancel(state.timer);
    if (state.name === 'connecting') this.#environment.cancel(state.deadline);
    this.#enter({ name: 'stopped' });
    if (state.name === 'connecting' || state.name === 'open') state.socket.close(1000);
  }

  /** Ends a pause early, for instance when the machine is back on a network. */
  retryNow() {
    if (this.#state.name !== 'waiting') return;
    this.#environment.cancel(this.#state.timer);
    this.#connect();
  }

  /**
   * @param {string | ArrayBufferLike | ArrayBufferView<ArrayBuffer>} data
   * @returns {boolean} whether there was a connection to hand it to
   */
  send(data) {
    if (this.#state.name !== 'open') return false;
    this.#state.socket.send(/** @type {string | ArrayBuffer} */ (data));
    return true;
  }

  /** Goes on with another socket, which is open already. @param {Socket} socket */
  adopt(socket) {
    const state = this.#state;
    if (state.name !== 'open') return socket.close(1000);
    this.#listen(socket);
    this.#opened(socket);
    state.socket.close(1000);
  }

  #connect() {
    const socket = this.#environment.connect(this.#url, ['json']);
    this.#listen(socket);
    const deadline = this.#environment.later(() => socket.close(), CONNECT_DEADLINE_MS);
    this.#enter({ name: 'connecting', socket, deadline });
  }

  /** @param {Socket} socket */
  #listen(socket) {
    // Every handler checks that the machine still speaks of this socket: a late event of an older one changes nothing.
    const isCurrent = () => 'socket' in this.#state && this.#state.socket === socket;
    socket.onopen = () => {
      if (isCurrent()) this.#opened(socket);
    };
    socket.onmessage = (event) => {
      if (isCurrent()) this.#handlers.onMessage?.(event.data);
    };
    socket.onclose = (event) => {
      if (isCurrent()) this.#lost({ code: event.code, reason: event.reason });
    };
  }

  /** @param {Socket} socket */
  #opened(socket) {
    if (this.#state.name === 'connecting') this.#environment.cancel(this.#state.deadline);
    this.#enter({ name: 'open', socket, since: this.#environment.now() });
  }

  /** @param {CloseInfo} close */
  #lost(close) {
    const state = this.#state;
    const now = this.#environment.now();
    if (state.name === 'connecting') this.#environment.cancel(state.deadline);
    if (state.name === 'open' && now - state.since >= STABLE_AFTER_MS) this.#failures = 0;
    const pause = backoff(this.#failures, this.#environment.random);
    this.#failures += 1;
    const timer = this.#environment.later(() => this.#connect(), pause);
    this.#enter({ name: 'waiting', until: now + pause, timer, close });
  }

  /** @param {State} state */
  #enter(state) {
    this.#state = state;
    this.#handlers.onState?.(state);
  }
}

/**
 * Shows the state in the page's `.status`, in words and as a dot: green while connected, red otherwise. The countdown is for the eyes
 * only; a screen reader is told once that the connection is gone, not every second.
 * @returns {(state: { name: string, until?: number }) => void} takes the states of this machine, and those of the client
 */
export function pageStatus() {
  const element = /** @type {HTMLElement} */ (document.querySelector('.status'));
  const text = /** @type {HTMLElement} */ (element.querySelector('.status-text'));
  const next = /** @type {HTMLElement} */ (element.querySelector('.status-next'));
  /** @type {Timer | undefined} */
  let ticking;
  return (state) => {
    clearInterval(ticking);
    const isOver = state.name === 'stopped' || state.name === 'closed';
    const isLost = state.name === 'waiting' || state.name === 'paused';
    const words = state.name === 'open' ? 'Connected' : isOver ? 'Disconnected' : isLost || text.dataset.lost ? 'Reconnecting' : 'Connecting';
    if (isLost) text.dataset.lost = 'yes';
    if (state.name === 'open') delete text.dataset.lost;
    element.dataset.state = state.name;
    if (text.textContent !== words) text.textContent = words;
    next.textContent = '';
    if (state.until === undefined) return;
    const { until } = state;
    const tick = () => {
      const seconds = Math.ceil((until - Date.now()) / 1000);
      next.textContent = seconds > 0 ? `in ${seconds} s` : '';
    };
    tick();
    ticking = setInterval(tick, 1000);
  };
}

/**
 * A socket to the page's own path that shows itself in the page's `.status` and hurries when there is reason to hope.
 * @param {Handlers} handlers
 * @param {Environment['connect']} connect
 * @returns {LiveSocket}
 */
export function openLiveSocket(handlers, connect) {
  const show = pageStatus();
  const live = new LiveSocket(socketAddress(location), {
    ...handlers,
    onState: (state) => {
      show(state);
      handlers.onState?.(state);
    },
  }, { ...browser(), connect });
  addEventListener('online', () => live.retryNow());
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) live.retryNow();
  });
  live.start();
  return live;
}
