/**
 * The client of Sockeye: `connect`, then `subscribe` and `publish`. What the words mean is in README.md; `sockeye.js` is
 * checked against these types whenever its tests run.
 */

/**
 * Connects, and stays connected until `close`. The client can be used at once; what needs the connection waits for it.
 * @param url `ws:`, `wss:`, `http:` or `https:`; in a page also relative to it
 */
export declare function connect(url: string | { readonly href: string }, options?: ConnectOptions): Client;

export interface ConnectOptions {
  token?: string | undefined;
  /** Asked for the first token, and for another when that expired. A `SockeyeError('unauthorized')` thrown from it closes the client. */
  getToken?: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** What this program calls itself, for the server's records: `web/1.4`. */
  name?: string | undefined;
  /**
   * Which ways to the server may be tried, the best first. All of them by default: `websocket`, then `stream` (or `events`, where a
   * browser cannot read a response as it comes), then `poll`. One alone pins it.
   */
  transports?: readonly Transport[] | undefined;
  /** In milliseconds: how long after a connection over a lesser transport a better one is tried for the first time. 30,000 by default. */
  climbAfter?: number | undefined;
  /** Where there is no global one, as in Node 20: for instance that of the package `ws`. */
  WebSocket?: (new (url: string, protocols: string[]) => WebSocketLike) | undefined;
  /** In milliseconds, how long a command waits for its reply. 10,000 by default. */
  timeout?: number | undefined;
  /** false: publications are sent once only, and without a key of their own. */
  retry?: boolean | undefined;
  /** false: publications do not wait for each other, and may change places when the connection is lost. */
  ordered?: boolean | undefined;
  /** Publications kept until they are answered; what comes on top is rejected with `limit`. 1,000 by default. */
  maxQueued?: number | undefined;
  /** Their bytes. 4 MiB by default. */
  maxQueuedBytes?: number | undefined;
  /** What the server takes in one message; a larger publication is rejected with `too_big`. 64 KiB by default. */
  maxMessageBytes?: number | undefined;
}

/** `stream` and `events` are one response of HTTP that goes on, `poll` is one after the other; POST is the way back in all three. */
export type Transport = 'websocket' | 'stream' | 'events' | 'poll';

/** What is used of a WebSocket; those of browsers, Node, Deno, Bun and of the package `ws` fit. */
export interface WebSocketLike {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  readonly bufferedAmount?: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
}

/** `addEventListener` as in the browser, also where there is no DOM. The event is a plain object. */
export interface Listenable<Events> {
  addEventListener<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void, options?: { once?: boolean }): void;
  removeEventListener<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): void;
}

export interface Client extends Listenable<ClientEvents> {
  readonly state: State;
  /** What carries the connection while it is open. A change is told by `state`, since it is another connection. */
  readonly transport: Transport | undefined;
  onstate: ((event: ClientEvents['state']) => void) | null;
  onerror: ((event: ClientEvents['error']) => void) | null;
  onexpiring: ((event: ClientEvents['expiring']) => void) | null;
  /** @throws {SockeyeError} `already_subscribed`, `closed` */
  subscribe(channel: string, options?: SubscribeOptions): Subscription;
  /** The subscription to this channel, if there is one. */
  subscription(channel: string): Subscription | undefined;
  /**
   * Resolves when the server has it: with its position, or with nothing in a channel without history. Unless told otherwise it is kept
   * while there is no connection, and sent again under the same key until it is answered: it takes effect once, and in order.
   * A volatile one resolves at once, sent or not.
   *
   * Rejects with a `SockeyeError`. With `timeout`, `disconnected` or `unavailable`, and when the client was closed meanwhile, it is not known
   * whether it took effect: under a `key` of one's own it can be tried again within five minutes. Refused by the server with any
   * other code it never will.
   * @param data any JSON value, or bytes: an `ArrayBuffer` or a view of one
   */
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Position | undefined>;
  /** Who is there. A limit of 0 asks for the count alone. */
  presence(channel: string, options?: { limit?: number | undefined }): Promise<Presence>;
  history(channel: string, options?: HistoryOptions): Promise<History>;
  /** Calls a method of the server's own. Sent once only: nobody but the caller knows whether twice would do harm. */
  call(method: string, data?: unknown, options?: { timeout?: number | undefined }): Promise<any>;
  /** A newer token, for this connection and those that follow. */
  refresh(token: string): Promise<void>;
  /** Ends everything: subscriptions end, and what was not answered is rejected with `closed`. */
  close(): void;
}

export interface ClientEvents {
  state: { type: 'state'; state: State };
  /** Something failed that nobody awaits, or a message made no sense. The client goes on. */
  error: { type: 'error'; error: SockeyeError };
  /** The token runs out and there is no `getToken`: call `refresh`. */
  expiring: { type: 'expiring'; inMs: number };
}

/**
 *                ┌─────────── greeted ──────────> open ──┐
 *     connecting                                         │ closed
 *       ^  ^       └─ refused, lost, too slow ─┐         │         offline, frozen
 *       │  │                                   v         v        (from all three)
 *       │  └──── pause over, or online ─────── waiting <─┴──────────> paused
 *       └────────────────────────── online, resumed ───────────────────┘
 *
 * `closed` is for ever: by `close()`, then without an error; or because the server said that there is no use.
 */
export type State =
  | { name: 'connecting' }
  | { name: 'open'; session: string; user: string | undefined; transport: Transport }
  | { name: 'waiting'; until: number; close: CloseInfo }
  | { name: 'paused'; reason: 'offline' | 'frozen' }
  | { name: 'closed'; error: SockeyeError | undefined };

export interface CloseInfo {
  code: number;
  reason: string;
}

export interface SubscribeOptions {
  /** Begin with so many publications. */
  last?: number | undefined;
  /** Begin after this position. Not together with `last`. */
  since?: Position | undefined;
  /** Be a member, seen by others with this. */
  as?: unknown;
  /** See the members; on by itself with `as`. */
  members?: boolean | undefined;
  /** false: leave out what this client publishes, on earlier connections too. */
  echo?: boolean | undefined;
  /** Messages kept for a slow iterator. 1,000 by default. */
  buffer?: number | undefined;
}

/**
 * One channel, across as many connections as it takes. `for await` gives messages and `lost`; events give everything.
 *
 * What arrives before the first iterator is kept for it, unless there is a listener for `message`. A consumer that falls behind by
 * more than `buffer` loses all that waits and gets one `lost` with the reason `slow` in its place. The loop ends with the
 * subscription, by throwing if that failed; leaving the loop does not unsubscribe.
 */
export interface Subscription extends Listenable<SubscriptionEvents>, AsyncIterable<Message | Lost> {
  [Symbol.asyncIterator](): AsyncIterableIterator<Message | Lost>;
  readonly channel: string;
  readonly state: SubscriptionState;
  /** What was published up to here has been heard. Kept, it is the `since` of another day. */
  readonly position: Position | undefined;
  /** Resolves with the position when first subscribed; rejects when that is refused for good. */
  readonly ready: Promise<Position | undefined>;
  /** Who is there, by session: live with `as` or `members`; while there is no connection, as it last was. */
  readonly members: ReadonlyMap<string, Member>;
  onmessage: ((event: Message) => void) | null;
  onlost: ((event: Lost) => void) | null;
  onjoin: ((event: SubscriptionEvents['join']) => void) | null;
  onleave: ((event: SubscriptionEvents['leave']) => void) | null;
  onmembers: ((event: SubscriptionEvents['members']) => void) | null;
  onstate: ((event: SubscriptionEvents['state']) => void) | null;
  onend: ((event: SubscriptionEvents['end']) => void) | null;
  onerror: ((event: SubscriptionEvents['error']) => void) | null;
  /** As `client.publish`, here. */
  publish(data: unknown, options?: PublishOptions): Promise<Position | undefined>;
  presence(options?: { limit?: number | undefined }): Promise<Presence>;
  history(options?: HistoryOptions): Promise<History>;
  /** Nothing of this channel is heard from now on. */
  unsubscribe(): void;
}

export type SubscriptionState = 'pending' | 'live' | 'ended';

export interface SubscriptionEvents {
  message: Message;
  lost: Lost;
  join: { type: 'join'; channel: string; member: Member };
  leave: { type: 'leave'; channel: string; member: Member };
  /** After every change. */
  members: { type: 'members'; channel: string; members: ReadonlyMap<string, Member> };
  state: { type: 'state'; channel: string; state: SubscriptionState };
  /** It is over: without `error` by this program's wish. */
  end: { type: 'end'; channel: string; error: SockeyeError | undefined };
  /** It was refused or ended and is tried again, or a message made no sense. */
  error: { type: 'error'; channel: string; error: SockeyeError };
}

/** Where one stands in a channel: offsets count up by one within an epoch. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** Who published, or is there. */
export interface Member {
  session: string;
  user?: string | undefined;
  /** What a member shows of itself. */
  as?: unknown;
}

export interface Message {
  type: 'message';
  channel: string;
  /** A `Uint8Array` where bytes were published. */
  data: any;
  /** Together with `offset` the position after this one; absent without history and for volatile ones. */
  epoch?: string;
  offset?: number;
  event?: string;
  /** Absent when the server itself published. */
  from?: Member;
  /** In Unix milliseconds. */
  at?: number;
  /** Published by this client, on this connection or an earlier one. */
  own?: true;
}

/**
 * Something may be missing: what came before ended at `from`, what follows comes after `to`.
 *
 * The server's reasons: `history` (the window no longer held `from`), `epoch` (the channel began anew), `slow`, `store`.
 * This client's: `slow` (the iterator's consumer; `history({ since: from })` has what it missed), `no_history` (a channel that
 * keeps nothing was away for a while), `hole` (the server left something out and could not fill it in).
 */
export interface Lost {
  type: 'lost';
  channel: string;
  from: Position | undefined;
  to: Position | undefined;
  reason: string;
}

export interface PublishOptions {
  /** A name for the kind of event, up to 64 bytes. */
  event?: string | undefined;
  /** Idempotency key, up to 128 bytes; a random one by default. */
  key?: string | undefined;
  /** false: everybody but me. After a reconnect it may be among what is caught up with: then `own` says whose it is. */
  echo?: boolean | undefined;
  /** To those who are there now: sent at most once, not kept, not answered. */
  volatile?: boolean | undefined;
  /** For a subscriber that is behind, the newest with this value is enough. */
  conflate?: string | undefined;
  /** As in `ConnectOptions`, for this one. */
  retry?: boolean | undefined;
  ordered?: boolean | undefined;
}

export interface HistoryOptions {
  /** After this position; with `reverse` before it. */
  since?: Position | undefined;
  limit?: number | undefined;
  /** From the newest to the oldest. */
  reverse?: boolean | undefined;
}

export interface History {
  position: Position | undefined;
  items: Message[];
  more: boolean;
}

export interface Presence {
  count: number;
  members: Member[];
}

/**
 * `code` is one of the protocol's error codes, or the client's own: `disconnected`, `closed`, `replaced`, `protocol` (the server said
 * what makes no sense). The message is for people and changes.
 */
export declare class SockeyeError extends Error {
  constructor(code: string, message?: string, more?: { retryAfter?: number | undefined; close?: CloseInfo | undefined; cause?: unknown });
  readonly code: string;
  /** In milliseconds: before that there is no use in trying again. */
  readonly retryAfter: number | undefined;
  /** How the connection ended, if that was the reason. */
  readonly close: CloseInfo | undefined;
}

/** The pause before another attempt: anything from nothing to a ceiling that doubles with each failure. In milliseconds. */
export declare function backoff(failures: number, random?: () => number): number;

/** The first pause is somewhere between nothing and this. */
export declare const BACKOFF_BASE_MS: number;
/** However often it failed, no pause is longer than this, unless the server asked for a longer one. */
export declare const BACKOFF_CAP_MS: number;
/** The longest pause a server can ask for; more is taken for a mistake. */
export declare const RETRY_AFTER_CAP_MS: number;
/** Getting the token, opening and being greeted together; then the attempt is given up. */
export declare const CONNECT_DEADLINE_MS: number;
/** Only a connection that held this long makes the next pause short again. */
export declare const STABLE_AFTER_MS: number;
/** How long a command waits for its reply, and before that for a connection. */
export declare const TIMEOUT_MS: number;
/** What the server may be late, by its own `ping_every_ms`, before the client asks. */
export declare const PING_MARGIN_MS: number;
/** How soon there must be an answer when there is reason to doubt: the network changed, the page woke up. */
export declare const PROBE_MS: number;
/** A publication is sent again under the same key at most this long: the server knows a key for five minutes. */
export declare const RETRY_WINDOW_MS: number;
/** Publications kept until they are answered. */
export declare const QUEUE_LIMIT: number;
/** Their bytes. */
export declare const QUEUE_BYTES_LIMIT: number;
/** What the server takes in one message. */
export declare const MESSAGE_BYTES_LIMIT: number;
/** What the client takes in one message, in UTF-16 units: a page of history may be long. */
export declare const RECEIVE_LIMIT: number;
/** Commands that wait for a reply. */
export declare const COMMANDS_LIMIT: number;
/** What is kept for a slow iterator. */
export declare const BUFFER_LIMIT: number;
/** Members of one channel that are shown. */
export declare const MEMBERS_LIMIT: number;
