/** The switch for the transport of a page: what may be tried, and what is in use. It is the ladder of the JavaScript client. */

import { Climb } from '/assets/sockeye/climb.js';
import { Ladder } from '/assets/sockeye/ladder.js';
import { openLiveSocket, socketAddress } from './live-socket.js';
import { element } from './shell.js';

/** @import { Dial } from '../client/sockeye/ladder.js' */
/** @import { Handlers, LiveSocket, State } from './live-socket.js' */
/** @typedef {'websocket' | 'stream' | 'events' | 'poll'} Transport */

/** @type {Record<Transport, string>} */
const NAMES = { websocket: 'WebSocket', stream: 'HTTP stream', events: 'Server-sent events', poll: 'Long-polling' };

/**
 * A socket that comes back, over whatever `#transport` is switched to; `#carrier` says what that is at the moment. The choice is kept in
 * the address, so that another window begins with it.
 * @param {Handlers} handlers @returns {LiveSocket}
 */
export function openSwitchedSocket(handlers) {
  const select = element('transport', HTMLSelectElement);
  const carrier = element('carrier', HTMLElement);
  const wanted = new URLSearchParams(location.search).get('transport');
  if ([...select.options].some(({ value }) => value === wanted)) select.value = wanted ?? '';
  /** @type {Dial | undefined} the socket in use, or on its way */
  let dial;
  let { ladder, climb } = begin();

  const live = openLiveSocket({
    ...handlers,
    onState: (state) => {
      show(state);
      if (state.name === 'open') climb.start();
      else climb.stop();
      handlers.onState?.(state);
    },
  }, () => {
    const next = ladder.dial();
    // Its listeners come first.
    queueMicrotask(() => next.start());
    return socketOf((dial = next));
  });

  select.addEventListener('change', () => {
    const address = new URL(location.href);
    if (select.value === 'auto') address.searchParams.delete('transport');
    else address.searchParams.set('transport', select.value);
    history.replaceState(null, '', address);
    climb.stop();
    live.stop();
    ({ ladder, climb } = begin());
    live.start();
  });
  addEventListener('online', () => {
    ladder.moved();
    climb.hurry();
  });
  return live;

  function begin() {
    const transports = select.value === 'auto' ? undefined : [/** @type {Transport} */ (select.value)];
    const ladder = new Ladder(new URL(socketAddress(location)), { transports }, ['json']);
    const climb = new Climb(ladder, {
      // Nobody greets here: to hold is all that is asked.
      prove: (_, proved) => proved({}),
      ready: (better) => {
        dial = better;
        ladder.adopt(better);
        live.adopt(socketOf(better));
      },
    });
    return { ladder, climb };
  }

  /** @param {State} state */
  function show(state) {
    const used = state.name === 'open' ? dial?.transport : undefined;
    carrier.dataset.transport = used ?? '';
    carrier.textContent = used ? NAMES[used] : 'none yet';
  }
}

/** @param {Dial} dial */
function socketOf(dial) {
  return /** @type {import('./live-socket.js').Socket} */ (/** @type {unknown} */ (dial));
}
