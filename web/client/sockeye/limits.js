/** What may grow how far and wait how long, and which codes mean what. sockeye.d.ts explains those that users see. */

export const PROTOCOL = 'sockeye.v1.json';
/** The close code for too many commands. */
export const TOO_FAST = 4108;
export const BACKOFF_BASE_MS = 500;
export const BACKOFF_CAP_MS = 20_000;
export const RETRY_AFTER_CAP_MS = 600_000;
export const CONNECT_DEADLINE_MS = 10_000;
export const STABLE_AFTER_MS = 5_000;
export const TIMEOUT_MS = 10_000;
/** A timer that is to wait longer than this fires at once. */
export const TIMER_LIMIT_MS = 2 ** 31 - 1;
export const PING_MARGIN_MS = 5_000;
export const PROBE_MS = 5_000;
export const RETRY_WINDOW_MS = 240_000;
export const QUEUE_LIMIT = 1_000;
export const QUEUE_BYTES_LIMIT = 4 * 1024 * 1024;
export const MESSAGE_BYTES_LIMIT = 64 * 1024;
export const RECEIVE_LIMIT = 32 * 1024 * 1024;
export const COMMANDS_LIMIT = 1_000;
export const BUFFER_LIMIT = 1_000;
export const MEMBERS_LIMIT = 10_000;
/** Earlier connections of which a publication is still known to be this client's own. */
export const SESSIONS_LIMIT = 100;
/** Commands of one turn go out together: so many at most, and so many UTF-16 units. */
export const BATCH_LIMIT = 100;
export const BATCH_LENGTH = 16 * 1024;
/** With this much still unsent, a volatile publication is dropped: it would arrive late. */
export const VOLATILE_BACKLOG_BYTES = 256 * 1024;
/** The command's `id` comes on top of a publication's size. */
export const ID_BYTES = 32;

/** Error codes with which the server may do it another time. */
export const CAN_RETRY = new Set(['rate_limited', 'unavailable', 'timeout', 'disconnected']);
/** The same for a subscription, which has all the time there is. */
export const CAN_SUBSCRIBE_LATER = new Set([...CAN_RETRY, 'internal', 'protocol', 'token_expired']);
/** Answers to `connect` after which the next would be the same. */
export const FINAL = new Set(['unauthorized', 'token_expired', 'forbidden', 'bad_request', 'unknown_verb', 'closed']);
/** What the close codes that are final say, as an error code. */
export const CLOSED_AS = new Map([[4000, 'protocol'], [4001, 'unauthorized'], [4003, 'forbidden'], [4009, 'replaced']]);

/**
 * How long to pause after so many failures in a row: "full jitter", anything from nothing to a ceiling that doubles,
 * so that a thousand clients that lost the same server do not come back in the same instant.
 * @param {number} failures @param {() => number} [random] @returns {number} milliseconds
 */
export function backoff(failures, random = Math.random) {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.max(0, failures));
}

/** Of the 200 commands that a server takes at once by default, and of the 100 in each second after that: the rest is for everything else. */
export const SUBSCRIBE_AT_ONCE = 150;
export const SUBSCRIBE_IN_A_GROUP = 40;
export const SUBSCRIBE_EVERY_MS = 500;

/**
 * When a new connection is asked for the channel that is so many'th, after the server has ended one with 4108: if all were asked for at
 * once, some would be refused so often that it ended the next one as well, and so on.
 * @param {number} index @returns {number} milliseconds
 */
export function subscribeAfter(index) {
  return Math.max(0, Math.ceil((index + 1 - SUBSCRIBE_AT_ONCE) / SUBSCRIBE_IN_A_GROUP)) * SUBSCRIBE_EVERY_MS;
}

// Finding a way through, and back up.

/** An attempt that has not opened by then gets company: the next transport is tried beside it. */
export const FALLBACK_AFTER_MS = 2_500;
/**
 * A connection cut this soon after it opened was not meant to live. All that is not stable is: with a gap between the two, a wall that cuts
 * in it would be dialled for ever, with pauses that grow.
 */
export const CUT_WITHIN_MS = STABLE_AFTER_MS;
/** So many of them in a row, and the next transport is used; one on which nothing had been heard counts twice. */
export const CUTS_LIMIT = 4;
/** A transport that worked is left to itself for so many failed attempts: it is the server that is away. */
export const PATIENCE = 2;
/** How long it is remembered what worked on this network. */
export const MEMORY_MS = 3_600_000;
/** The first try to get back to a better transport, and the longest pause between two. */
export const CLIMB_AFTER_MS = 30_000;
export const CLIMB_CAP_MS = 600_000;
/** The same when the network has changed. */
export const HURRY_MS = 1_000;
/** A better transport has to hold this long beside the present one before it takes over. */
export const PROVE_MS = CUT_WITHIN_MS;
/** How long it waits for a moment in which no command is on its way; then, for one in which none is that is asked once only. */
export const SWITCH_WITHIN_MS = 5_000;

// Conversations over HTTP.

/** How long a receiver that was cut is tried again: the server keeps a conversation without one for five seconds. */
export const RESUME_WITHIN_MS = 4_500;
/** A receiver that lasted this long was one, even if nothing was heard on it. */
export const ATTACHED_MS = 500;
/** How late a heartbeat may be. */
export const HEARTBEAT_MARGIN_MS = 10_000;
/** What the server is taken to promise until it says so. */
export const HEARTBEAT_MS = 25_000;
/** How long a POST may take before it is made again, and how long it is made again. */
export const POST_DEADLINE_MS = 10_000;
/** What one POST carries at most: messages, and UTF-16 units of them (one message may be longer). */
export const POST_LIMIT = 100;
export const POST_LENGTH = 64 * 1024;
/** UTF-16 units that may wait to be sent; with more the connection ends, as a browser's WebSocket does. */
export const SEND_BUFFER_LIMIT = 16 * 1024 * 1024;
/** A refusal of which so much was read says enough. */
export const REFUSAL_LENGTH = 2_048;
