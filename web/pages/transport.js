/** The connection of a demo's page, over whatever gets through: by the ladder of the JavaScript client. */

import { Climb } from '/assets/sockeye/climb.js';
import { Ladder } from '/assets/sockeye/ladder.js';
import { openLiveSocket, socketAddress } from './live-socket.js';
import { element } from './shell.js';

/** @import { Dial } from '../client/sockeye/ladder.js' */
/** @import { Handlers, LiveSocket, Socket, State } from './live-socket.js' */
/** @typedef {'websocket' | 'stream' | 'events' | 'poll'} Transport */

/** @type {Record<Transport, string>} */
export const NAMES = { websocket: 'WebSocket', stream: 'HTTP stream', events: 'Server-sent events', poll: 'Long-polling' };

/** What every demo answers to whoever says it, and to nobody else: the echo with the same, the others with a complaint. */
const KNOCK = '{}';

/** @param {unknown} data */
const isAnswer = (data) => data === KNOCK || (typeof data === 'string' && data.startsWith('{"error":'));

/**
 * A socket that comes back, over the best transport that gets through.
 * @param {Handlers} handlers @returns {LiveSocket}
 */
export function openSocket(handlers) {
  return climbing(handlers, undefined).live;
}

/**
 * The same, over whatever `#transport` is switched to; `#carrier` says what that is at the moment. The choice is kept in the address, so
 * that another window begins with it.
 * @param {Handlers} handlers @returns {LiveSocket}
 */
export function openSwitchedSocket(handlers) {
  const select = element('transport', HTMLSelectElement);
  const carrier = element('carrier', HTMLElement);
  const advice = element('advice', HTMLElement);
  const wanted = new URLSearchParams(location.search).get('transport');
  if ([...select.options].some(({ value }) => value === wanted)) select.value = wanted ?? '';
  const pinned = () => (select.value === 'auto' ? undefined : /** @type {Transport} */ (select.value));
  // A transport that was just chosen has one attempt, one that worked has two, before others are recommended.
  let failures = 1;

  const { live, pin } = climbing({ ...handlers, onState: (state) => {
    show(state);
    handlers.onState?.(state);
  } }, pinned());
  select.addEventListener('change', () => {
    const address = new URL(location.href);
    if (select.value === 'auto') address.searchParams.delete('transport');
    else address.searchParams.set('transport', select.value);
    history.replaceState(null, '', address);
    failures = 1;
    pin(pinned());
  });
  return live;

  /** @param {State} state */
  function show(state) {
    const used = state.name === 'open' ? state.socket.transport : undefined;
    if (used) failures = 0;
    if (state.name === 'waiting') failures += 1;
    carrier.dataset.transport = used ?? '';
    carrier.textContent = used ? NAMES[used] : '';
    const only = pinned();
    advice.textContent = only && failures > 1 ? `${NAMES[only]} does not get through just now. “Automatic” tries the others too.` : '';
  }
}

/** @param {Handlers} handlers @param {Transport | undefined} only @returns {{ live: LiveSocket, pin: (only: Transport | undefined) => void }} */
function climbing(handlers, only) {
  let { ladder, climb } = begin(only);
  const live = openLiveSocket({ ...handlers, onState: (state) => {
    if (state.name === 'open') climb.start();
    else climb.stop();
    handlers.onState?.(state);
  } }, () => {
    const dial = ladder.dial();
    // Its listeners come first.
    queueMicrotask(() => dial.start());
    return new Answered(dial);
  });
  addEventListener('online', () => {
    ladder.moved();
    climb.hurry();
  });
  return { live, pin };

  /** @param {Transport | undefined} only */
  function pin(only) {
    climb.stop();
    live.stop();
    ({ ladder, climb } = begin(only));
    live.start();
  }

  /** @param {Transport | undefined} only */
  function begin(only) {
    const ladder = new Ladder(new URL(socketAddress(location)), { transports: only && [only], WebSocket: Binary }, ['json']);
    const climb = new Climb(ladder, {
      prove: (dial, proved) => knock(dial, proved),
      ready: (better, said) => {
        ladder.adopt(better);
        live.adopt(new Answered(better, true));
        // What was said to both may have come over this one first.
        if (typeof said.last === 'string') handlers.onMessage?.(said.last);
      },
    });
    return { ladder, climb };
  }
}

/**
 * Asks whether anybody is there; in `last` is what was heard last, but for the answer.
 * @param {Dial} dial @param {(said: { last?: string }) => void} answered
 */
function knock(dial, answered) {
  /** @type {{ last?: string }} */
  const said = {};
  dial.onmessage = ({ data }) => {
    if (isAnswer(data)) answered(said);
    else said.last = data;
  };
  dial.send(KNOCK);
}

/**
 * A dial that is open when somebody has answered over it: there are proxies that answer the upgrade, and pass nothing on. It is closed by
 * the deadline of the attempt, and the ladder takes one that never said a word for a wall.
 * @implements {Socket}
 */
class Answered {
  /** @type {Socket['onopen']} */ onopen = null;
  /** @type {Socket['onmessage']} */ onmessage = null;
  /** @type {Socket['onclose']} */ onclose = null;
  #dial;
  #isOpen;
  /** Whether an answer to the knock is still to come. */
  #isKnocking;

  /** @param {Dial} dial @param {boolean} [hasAnswered] */
  constructor(dial, hasAnswered = false) {
    this.#dial = dial;
    this.#isOpen = hasAnswered;
    this.#isKnocking = !hasAnswered;
    dial.onopen = () => dial.send(KNOCK);
    dial.onmessage = ({ data }) => this.#heard(data);
    dial.onclose = (event) => this.onclose?.(event);
  }

  get transport() {
    return this.#dial.transport;
  }

  get bufferedAmount() {
    return this.#dial.bufferedAmount;
  }

  /** @param {string | ArrayBuffer} data bytes over a WebSocket only */
  send(data) {
    this.#dial.send(/** @type {string} */ (data));
  }

  /** @param {number} [code] */
  close(code) {
    this.#dial.close(code);
  }

  /** @param {unknown} data */
  #heard(data) {
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.onopen?.({});
    }
    if (this.#isKnocking && isAnswer(data)) this.#isKnocking = false;
    else this.onmessage?.({ data });
  }
}

/** Bytes come as an `ArrayBuffer`, for which the ladder, whose protocol is text, does not ask. */
class Binary extends WebSocket {
  /** @param {string} url @param {string[]} protocols */
  constructor(url, protocols) {
    super(url, protocols);
    /** @type {BinaryType} */
    this.binaryType = 'arraybuffer';
  }
}
