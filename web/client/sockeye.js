/**
 * The client of Sockeye for pages, Node, Deno and Bun: the protocol `sockeye.v1.json`, without dependencies.
 *
 *     import { connect } from '/sockeye.js';
 *     const room = connect('/ws').subscribe('chat:lobby', { last: 20, as: { name: 'Ann' } });
 *     room.onmessage = ({ data }) => show(data.text);
 *     room.onmembers = ({ members }) => list([...members.values()]);
 *     form.onsubmit = () => room.publish({ text: input.value });
 *
 * This file is the door; what is behind it is in the folder of the same name, and there is no build step. From the top: client, a
 * subscription (and its inbox), the publisher; the connection, which knows nothing of channels; the ladder, which finds a transport
 * that gets through (and climbs back to a better one), and the transports; at the bottom limits, events and the border. What users see
 * is typed and explained in sockeye.d.ts, against which this is checked.
 *
 * **Invariant:** the position of a subscription moves before its user hears of the publication, by exactly one, or `lost` says why not.
 * **Invariant:** of one channel at most one retried publication is on its way, so nothing overtakes one that failed (see `Publisher`).
 */

export { connect } from './sockeye/client.js';
export { SockeyeError } from './sockeye/events.js';
export {
  BACKOFF_BASE_MS,
  BACKOFF_CAP_MS,
  BUFFER_LIMIT,
  COMMANDS_LIMIT,
  CONNECT_DEADLINE_MS,
  MEMBERS_LIMIT,
  MESSAGE_BYTES_LIMIT,
  PING_MARGIN_MS,
  PROBE_MS,
  QUEUE_BYTES_LIMIT,
  QUEUE_LIMIT,
  RECEIVE_LIMIT,
  RETRY_AFTER_CAP_MS,
  RETRY_WINDOW_MS,
  STABLE_AFTER_MS,
  TIMEOUT_MS,
  backoff,
} from './sockeye/limits.js';
