/** The transports by name, best first, and how each is opened. */

import { Conversation } from './conversation.js';
import { PROTOCOL } from './limits.js';
import { receiveEvents, receivePoll, receiveStream } from './receivers.js';

/** @import { Transport, WebSocketLike } from '../sockeye.d.ts' */
/** @import { Receive } from './receivers.js' */
/** @typedef {new (url: string, protocols: string[]) => WebSocketLike} WebSocketConstructor */
/** @typedef {{ url: URL, protocols: string[], WebSocket: WebSocketConstructor | undefined }} Place */

/** @type {Record<Transport, { isHere: (place: Place) => boolean, open: (place: Place) => WebSocketLike }>} */
const TRANSPORTS = {
  websocket: {
    isHere: ({ WebSocket }) => WebSocket !== undefined,
    open: ({ url, protocols, WebSocket }) => new /** @type {WebSocketConstructor} */ (WebSocket)(url.href, protocols),
  },
  stream: {
    isHere: () => typeof fetch === 'function' && typeof ReadableStream === 'function',
    open: (place) => converse(place, 'stream', receiveStream),
  },
  events: {
    isHere: () => typeof fetch === 'function' && typeof EventSource === 'function',
    open: (place) => converse(place, 'events', receiveEvents),
  },
  poll: {
    isHere: () => typeof fetch === 'function',
    open: (place) => converse(place, 'poll', receivePoll),
  },
};

/**
 * Those that there are here. What buffers a stream of lines mostly buffers one of events too, so of these the first one does.
 * @param {readonly Transport[] | undefined} wanted @param {Place} place @returns {Transport[]}
 */
export function available(wanted, place) {
  for (const name of wanted ?? []) if (!Object.hasOwn(TRANSPORTS, name)) throw new TypeError(`no transport is called ${name}`);
  const here = (wanted ?? /** @type {const} */ (['websocket', 'stream', 'events', 'poll'])).filter((name) => TRANSPORTS[name].isHere(place));
  return here.filter((name) => wanted || name !== 'events' || !here.includes('stream'));
}

/** @param {Transport} name @param {Place} place */
export function open(name, place) {
  return TRANSPORTS[name].open(place);
}

/** @param {Place} place @param {string} path @param {Receive} receive */
function converse({ url, protocols }, path, receive) {
  const http = new URL(url);
  http.protocol = url.protocol.replace('ws', 'http');
  return new Conversation(http, path, receive, protocols.includes(PROTOCOL));
}
