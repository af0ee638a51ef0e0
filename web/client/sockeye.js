/**
 * The client of Sockeye for pages, Node, Deno and Bun: the protocol `sockeye.v1.json`, without dependencies.
 *
 *     import { connect } from '/sockeye.js';
 *     const room = connect('/ws').subscribe('chat:lobby', { last: 20, as: { name: 'Ann' } });
 *     room.onmessage = ({ data }) => show(data.text);
 *     room.onmembers = ({ members }) => list([...members.values()]);
 *     form.onsubmit = () => room.publish({ text: input.value });
 *
 * It is one file, and longer than any other here, because a page loads it with one request, there is no build step, and a stranger
 * copies it whole. It reads as seven: limits; errors and events; the client; a subscription; the publisher; the connection, which knows
 * nothing of channels; the border. What users see is typed and explained in sockeye.d.ts, against which this is checked.
 *
 * **Invariant:** the position of a subscription moves before its user hears of the publication, by exactly one, or `lost` says why not.
 * **Invariant:** of one channel at most one retried publication is on its way, so nothing overtakes one that failed (see `Publisher`).
 */

// --- limits ------------------------------------------------------------------------------------------------------------

const PROTOCOL = 'sockeye.v1.json';
export const BACKOFF_BASE_MS = 500;
export const BACKOFF_CAP_MS = 20_000;
export const RETRY_AFTER_CAP_MS = 600_000;
export const CONNECT_DEADLINE_MS = 10_000;
export const STABLE_AFTER_MS = 5_000;
export const TIMEOUT_MS = 10_000;
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
const SESSIONS_LIMIT = 100;
/** Commands of one turn go out together: so many at most, and so many UTF-16 units. */
const BATCH_LIMIT = 100;
const BATCH_LENGTH = 16 * 1024;
/** With this much still unsent, a volatile publication is dropped: it would arrive late. */
const VOLATILE_BACKLOG_BYTES = 256 * 1024;
/** The command's `id` comes on top of a publication's size. */
const ID_BYTES = 32;

/** Error codes with which the server may do it another time. */
const CAN_RETRY = new Set(['rate_limited', 'unavailable', 'timeout', 'disconnected']);
/** The same for a subscription, which has all the time there is. */
const CAN_SUBSCRIBE_LATER = new Set([...CAN_RETRY, 'internal', 'protocol', 'token_expired']);
/** Answers to `connect` after which the next would be the same. */
const FINAL = new Set(['unauthorized', 'token_expired', 'forbidden', 'bad_request', 'unknown_verb', 'closed']);
/** What the close codes that are final say, as an error code. */
const CLOSED_AS = new Map([[4000, 'protocol'], [4001, 'unauthorized'], [4003, 'forbidden'], [4009, 'replaced']]);

/** @import * as Api from './sockeye.d.ts' */
/** @import { ConnectOptions, Lost, Member, Message, Position, PublishOptions, State, WebSocketLike } from './sockeye.d.ts' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */
/** @typedef {Record<string, unknown>} Json */
/** @template T @typedef {{ promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void }} Deferred */

// --- errors and events -------------------------------------------------------------------------------------------------

export class SockeyeError extends Error {
  /**
   * @param {string} code @param {string} [message]
   * @param {{ retryAfter?: number | undefined, close?: Api.CloseInfo | undefined, cause?: unknown }} [more]
   */
  constructor(code, message, { retryAfter, close, cause } = {}) {
    super(message ? `${code}: ${message}` : code, cause === undefined ? undefined : { cause });
    this.name = 'SockeyeError';
    this.code = code;
    this.retryAfter = retryAfter;
    this.close = close;
  }
}

/**
 * `addEventListener` as in the browser, also where there is no DOM; the event is the plain object itself.
 * @template {object} Events
 */
class Emitter {
  /** @type {Map<keyof Events, Map<Function, boolean>>} listeners, and whether each is called only once */
  #listeners = new Map();

  /** @type {Api.Listenable<Events>['addEventListener']} */
  addEventListener(type, listener, { once = false } = {}) {
    const listeners = this.#listeners.get(type) ?? new Map();
    if (!listeners.has(listener)) this.#listeners.set(type, listeners.set(listener, once));
  }

  /** @type {Api.Listenable<Events>['removeEventListener']} */
  removeEventListener(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  /** @protected @param {keyof Events & string} type */
  listensTo(type) {
    return Boolean(this.#listeners.get(type)?.size || Reflect.get(this, `on${type}`));
  }

  /**
   * What a listener throws is reported as the host reports such things, and keeps nobody else from hearing.
   * @protected @template {keyof Events & string} Type @param {Type} type @param {Omit<Events[Type], 'type'>} detail
   */
  emit(type, detail) {
    const event = { type, ...detail };
    const listeners = this.#listeners.get(type);
    const property = Reflect.get(this, `on${type}`);
    const called = [...(typeof property === 'function' ? [property] : []), ...(listeners?.keys() ?? [])];
    for (const listener of called) {
      if (listeners?.get(listener)) listeners.delete(listener);
      try {
        listener.call(this, event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

// --- the client --------------------------------------------------------------------------------------------------------

/** @type {typeof Api.connect} */
export function connect(url, options = {}) {
  return new Client(url, options);
}

/** @extends {Emitter<Api.ClientEvents>} @implements {Api.Client} */
class Client extends Emitter {
  /** @type {Api.Client['onstate']} */ onstate = null;
  /** @type {Api.Client['onerror']} */ onerror = null;
  /** @type {Api.Client['onexpiring']} */ onexpiring = null;
  #options;
  #connection;
  #publisher;
  /** @type {Map<string, { subscription: Subscription, port: Port }>} */
  #subscriptions = new Map();
  /** @type {Set<string>} under which this client published: one for each connection, the oldest first */
  #sessions = new Set();

  /** @param {string | { readonly href: string }} url @param {ConnectOptions} [options] */
  constructor(url, options = {}) {
    super();
    this.#options = options;
    this.#connection = new Connection(url, options, {
      onState: (state) => this.#stateChanged(state),
      onOpen: () => this.#eachPort((port) => port.connected()),
      onDown: () => this.#eachPort((port) => port.disconnected()),
      onEvent: (channel, object) => this.#subscriptions.get(channel)?.port.received(object),
      onError: (error) => this.emit('error', { error }),
      onExpiring: (inMs) => this.emit('expiring', { inMs }),
    });
    this.#publisher = new Publisher(this.#connection, options);
    this.#connection.start();
  }

  get state() {
    return this.#connection.state;
  }

  /** @type {Api.Client['subscribe']} */
  subscribe(channel, options = {}) {
    if (typeof channel !== 'string' || channel === '') throw new TypeError('a channel has a name');
    if (options.last !== undefined && options.since !== undefined) throw new TypeError('either last or since');
    if (this.#subscriptions.has(channel)) throw new SockeyeError('already_subscribed', channel);
    if (this.state.name === 'closed') throw new SockeyeError('closed');
    return new Subscription(this, channel, options, (port) => {
      this.#subscriptions.set(channel, { subscription: port.subscription, port });
      return {
        request: (command, done) => this.#connection.send(command, {}, done),
        isOpen: () => this.state.name === 'open',
        isOwn: (session) => this.#sessions.has(session),
        left: () => this.#subscriptions.delete(channel),
      };
    });
  }

  /** @type {Api.Client['subscription']} */
  subscription(channel) {
    return this.#subscriptions.get(channel)?.subscription;
  }

  /** @type {Api.Client['publish']} */
  async publish(channel, data, options = {}) {
    return this.#publisher.publish(channel, data, { ...this.#options, ...options });
  }

  /** @type {Api.Client['presence']} */
  async presence(channel, { limit } = {}) {
    const ok = await this.#request({ presence: channel, limit }, { again: true });
    return { count: isCount(ok.count) ? ok.count : 0, members: readMembers(ok.members) };
  }

  /** @type {Api.Client['history']} */
  async history(channel, { since, limit, reverse } = {}) {
    const ok = await this.#request({ history: channel, since, limit, reverse: reverse || undefined }, { again: true });
    const position = readPosition(ok);
    const items = Array.isArray(ok.items) ? ok.items : [];
    return { position, items: items.flatMap((item) => readMessage(channel, position?.epoch, item) ?? []), more: ok.more === true };
  }

  /** @type {Api.Client['call']} */
  async call(method, data, { timeout } = {}) {
    return (await this.#request({ call: method, data }, { timeout })).data;
  }

  /** @type {Api.Client['refresh']} */
  async refresh(token) {
    await this.#connection.refresh(token);
  }

  close() {
    this.#connection.close(undefined);
  }

  /** @param {object} command @param {{ timeout?: number | undefined, again?: boolean }} options */
  #request(command, options) {
    if (this.#connection.waiting >= COMMANDS_LIMIT) throw new SockeyeError('limit', `${COMMANDS_LIMIT} commands wait for an answer`);
    return this.#connection.request(command, options);
  }

  /** @param {State} state */
  #stateChanged(state) {
    if (state.name === 'open') {
      this.#sessions.add(state.session);
      const [oldest] = this.#sessions;
      if (this.#sessions.size > SESSIONS_LIMIT && oldest !== undefined) this.#sessions.delete(oldest);
    }
    if (state.name === 'closed') {
      this.#publisher.close(state.error ?? new SockeyeError('closed'));
      this.#eachPort((port) => port.ended(state.error));
    }
    this.emit('state', { state });
  }

  /** @param {(port: Port) => void} visit */
  #eachPort(visit) {
    for (const { port } of [...this.#subscriptions.values()]) visit(port);
  }
}

// --- a subscription ----------------------------------------------------------------------------------------------------

/**
 * What a subscription shows the client, and only the client; and what it needs from there.
 * @typedef {object} Port
 * @property {Subscription} subscription
 * @property {() => void} connected
 * @property {() => void} disconnected
 * @property {(object: Json) => void} received
 * @property {(error: SockeyeError | undefined) => void} ended
 *
 * @typedef {{ request: (command: object, done: Done) => void, isOpen: () => boolean, isOwn: (session: string) => boolean, left: () => void }} Link
 */

/** @extends {Emitter<Api.SubscriptionEvents>} @implements {Api.Subscription} */
class Subscription extends Emitter {
  /** @type {Api.Subscription['onmessage']} */ onmessage = null;
  /** @type {Api.Subscription['onlost']} */ onlost = null;
  /** @type {Api.Subscription['onjoin']} */ onjoin = null;
  /** @type {Api.Subscription['onleave']} */ onleave = null;
  /** @type {Api.Subscription['onmembers']} */ onmembers = null;
  /** @type {Api.Subscription['onstate']} */ onstate = null;
  /** @type {Api.Subscription['onend']} */ onend = null;
  /** @type {Api.Subscription['onerror']} */ onerror = null;
  #client;
  #channel;
  #options;
  /** @type {Link} */
  #link;
  /** @type {Api.SubscriptionState} */
  #state = 'pending';
  /** @type {SockeyeError | undefined} why it ended */
  #error;
  /** @type {Position | undefined} */
  #position;
  /** Whether it was ever live, and since when it is. */
  #liveSince = -1;
  /** Failures in a row, for the pause after the next one. */
  #failures = 0;
  /** @type {Timer | undefined} */
  #timer;
  /** The offset behind which a hole was being filled: a second one there cannot be filled. */
  #filling = -1;
  /** @type {Map<string, Member>} */
  #members = new Map();
  /** @type {Set<Inbox>} */
  #inboxes = new Set();
  /** @type {Inbox | undefined} */
  #early;
  /** @type {Deferred<Position | undefined>} */
  #ready = deferred();

  /** @param {Client} client @param {string} channel @param {Api.SubscribeOptions} options @param {(port: Port) => Link} attach */
  constructor(client, channel, options, attach) {
    super();
    this.#client = client;
    this.#channel = channel;
    this.#options = { ...options };
    this.#position = options.since && { epoch: options.since.epoch, offset: options.since.offset };
    this.#early = new Inbox(options.buffer ?? BUFFER_LIMIT);
    // Nobody need wait for it: a failure is told by `end` as well.
    this.#ready.promise.catch(() => {});
    this.#link = attach({
      subscription: this,
      connected: () => this.#ask(false),
      disconnected: () => this.#disconnected(),
      received: (object) => this.#received(object),
      ended: (error) => this.#end(error),
    });
    if (this.#link.isOpen()) this.#ask(false);
  }

  get channel() {
    return this.#channel;
  }

  get state() {
    return this.#state;
  }

  get position() {
    return this.#position;
  }

  get ready() {
    return this.#ready.promise;
  }

  get members() {
    return /** @type {ReadonlyMap<string, Member>} */ (this.#members);
  }

  /** @type {Api.Subscription['publish']} */
  publish(data, options) {
    return this.#client.publish(this.#channel, data, options);
  }

  /** @type {Api.Subscription['presence']} */
  presence(options) {
    return this.#client.presence(this.#channel, options);
  }

  /** @type {Api.Subscription['history']} */
  history(options) {
    return this.#client.history(this.#channel, options);
  }

  unsubscribe() {
    if (this.#state === 'ended') return;
    if (this.#link.isOpen()) this.#link.request({ unsubscribe: this.#channel }, () => {});
    this.#end(undefined);
  }

  /** @type {Api.Subscription[typeof Symbol.asyncIterator]} */
  [Symbol.asyncIterator]() {
    const inbox = this.#early ?? new Inbox(this.#options.buffer ?? BUFFER_LIMIT);
    this.#early = undefined;
    this.#inboxes.add(inbox);
    if (this.#state === 'ended') inbox.end(this.#error);
    return {
      next: () => inbox.next(),
      return: async () => {
        this.#inboxes.delete(inbox);
        inbox.end(undefined);
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** @param {boolean} afresh whether the server may still think that this connection is subscribed */
  #ask(afresh) {
    clearTimeout(this.#timer);
    this.#enter('pending');
    const { last, as, members, echo } = this.#options;
    const since = this.#position && { epoch: this.#position.epoch, offset: this.#position.offset };
    // Refused if it was not subscribed after all, which is just as well.
    if (afresh) this.#link.request({ unsubscribe: this.#channel }, () => {});
    const again = this.#liveSince >= 0;
    this.#link.request({ subscribe: this.#channel, since, last: again ? undefined : last, as, members, echo }, (error, ok) => {
      if (this.#state === 'ended') return;
      if (error) this.#refused(error);
      else this.#joined(ok);
    });
  }

  /** @param {Json} ok */
  #joined(ok) {
    const before = this.#position;
    const wasLive = this.#liveSince >= 0;
    this.#liveSince = Date.now();
    const newest = readPosition(ok);
    const catchUp = isCount(ok.catch_up) ? ok.catch_up : 0;
    // The subscriber stands before what it will be sent to catch up with.
    const stands = newest && { epoch: newest.epoch, offset: Math.max(0, newest.offset - catchUp) };
    const reason = stands ? whyLost(before, stands, newest, ok.recovered) : before ? 'history' : wasLive ? 'no_history' : undefined;
    this.#position = reason === undefined && before ? before : stands;
    if (this.#seesMembers()) {
      this.#members.clear();
      for (const member of readMembers(ok.members)) this.#members.set(member.session, member);
    }
    const position = this.#position;
    this.#ready.resolve(position);
    this.#enter('live');
    if (reason) this.#lost(before, position, reason);
    if (this.#seesMembers()) this.#tell('members', { members: this.members });
  }

  #seesMembers() {
    return this.#options.members ?? this.#options.as !== undefined;
  }

  /** @param {SockeyeError} error */
  #refused(error) {
    // The next connection asks again.
    if (error.code === 'disconnected' || error.code === 'closed') return;
    const twice = error.code === 'already_subscribed' || error.code === 'timeout';
    if (!twice && !CAN_SUBSCRIBE_LATER.has(error.code)) return this.#end(error);
    this.#tell('error', { error });
    this.#askLater(twice, error.retryAfter);
  }

  /** @param {boolean} afresh @param {number} [atLeastMs] */
  #askLater(afresh, atLeastMs = 0) {
    if (this.#state === 'ended' || !this.#link.isOpen()) return;
    const pause = Math.max(atLeastMs, backoff(this.#failures++));
    this.#timer = setTimeout(() => this.#ask(afresh), pause);
  }

  #disconnected() {
    clearTimeout(this.#timer);
    this.#forgive();
    this.#enter('pending');
  }

  /** @param {Json} object */
  #received(object) {
    // Of an earlier subscription to this channel, or while a hole is being filled: the answer to come says where we stand.
    if (this.#state !== 'live') return;
    if (isObject(object.lost)) return this.#told(object.lost);
    if (isObject(object.end)) return this.#ended(object.end);
    if (isObject(object.join) || isObject(object.leave)) return this.#membersChanged(object);
    if (object.offset !== undefined && this.#position && !this.#advance(this.#position, object.offset)) return;
    // Its own publication, without an echo: a position and nothing else.
    if (!('data' in object) && !('base64' in object)) {
      if (!isCount(object.offset)) this.#nonsense('neither a publication nor a notice');
      return;
    }
    const message = readMessage(this.#channel, this.#position?.epoch, object);
    if (!message) return this.#nonsense('a publication of the wrong shape');
    if (message.from && this.#link.isOwn(message.from.session)) {
      // The server leaves out the echo of a connection; what comes to catch up after a reconnect was another one's for it.
      if (this.#options.echo === false) return;
      message.own = true;
    }
    this.#deliver(message);
  }

  /**
   * One step further, or not at all.
   * @param {Position} position @param {unknown} offset @returns {boolean} whether this is the next publication
   */
  #advance(position, offset) {
    if (!isCount(offset)) {
      this.#nonsense('an offset is a number');
      return false;
    }
    if (offset <= position.offset) return false;
    const next = { epoch: position.epoch, offset };
    if (offset > position.offset + 1) {
      // The server ought never to leave one out. Ask for it, once; then admit that it is gone.
      if (this.#filling !== position.offset) {
        this.#filling = position.offset;
        this.#ask(true);
        return false;
      }
      this.#position = { epoch: position.epoch, offset: offset - 1 };
      this.#lost(position, this.#position, 'hole');
      if (this.#state !== 'live') return false;
    }
    this.#position = next;
    return true;
  }

  /** @param {Json} notice */
  #told(notice) {
    const before = this.#position;
    this.#position = readPosition(notice) ?? before;
    this.#lost(before, this.#position, typeof notice.reason === 'string' ? notice.reason : 'unknown');
  }

  /** @param {Json} notice */
  #ended(notice) {
    const error = readError(notice);
    if (notice.retry !== true) return this.#end(error);
    this.#forgive();
    this.#enter('pending');
    this.#tell('error', { error });
    this.#askLater(false, error.retryAfter);
  }

  /** What held for a while may begin with short pauses again. */
  #forgive() {
    if (Date.now() - this.#liveSince >= STABLE_AFTER_MS) this.#failures = 0;
  }

  /** @param {Json} object */
  #membersChanged(object) {
    const joins = isObject(object.join);
    const [member] = readMembers([joins ? object.join : object.leave]);
    if (!member) return this.#nonsense('a member has a session');
    if (joins && this.#members.size >= MEMBERS_LIMIT && !this.#members.has(member.session)) return;
    if (joins) this.#members.set(member.session, member);
    else this.#members.delete(member.session);
    this.#tell(joins ? 'join' : 'leave', { member });
    this.#tell('members', { members: this.members });
  }

  /** @param {Position | undefined} from @param {Position | undefined} to @param {string} reason */
  #lost(from, to, reason) {
    this.#deliver({ type: 'lost', channel: this.#channel, from, to, reason });
  }

  /** @param {Message | Lost} item */
  #deliver(item) {
    if (this.#state === 'ended') return;
    if (this.#early && this.listensTo('message')) this.#early = undefined;
    this.#early?.push(item);
    for (const inbox of this.#inboxes) inbox.push(item);
    this.emit(item.type, item);
  }

  /** @param {string} what */
  #nonsense(what) {
    this.#tell('error', { error: new SockeyeError('protocol', what) });
  }

  /**
   * A listener may have ended the subscription; then there is nothing more to tell.
   * @template {'members' | 'join' | 'leave' | 'error'} Type @param {Type} type @param {Omit<Api.SubscriptionEvents[Type], 'type' | 'channel'>} detail
   */
  #tell(type, detail) {
    if (this.#state === 'ended') return;
    this.emit(type, /** @type {Omit<Api.SubscriptionEvents[Type], 'type'>} */ ({ channel: this.#channel, ...detail }));
  }

  /** @param {SockeyeError | undefined} error */
  #end(error) {
    if (this.#state === 'ended') return;
    clearTimeout(this.#timer);
    this.#error = error;
    this.#link.left();
    this.#ready.reject(error ?? new SockeyeError('closed', 'unsubscribed'));
    for (const inbox of this.#inboxes) inbox.end(error);
    this.#enter('ended');
    this.emit('end', { channel: this.#channel, error });
  }

  /** @param {Api.SubscriptionState} state */
  #enter(state) {
    if (this.#state === state || this.#state === 'ended') return;
    this.#state = state;
    this.emit('state', { channel: this.#channel, state });
  }
}

/**
 * Why something is missing between where one stood and where one stands now, if something is.
 * @param {Position | undefined} before @param {Position} stands @param {Position} newest @param {unknown} recovered
 */
function whyLost(before, stands, newest, recovered) {
  if (!before) return undefined;
  if (before.epoch !== stands.epoch) return 'epoch';
  if (recovered === false || before.offset > newest.offset) return 'history';
  return stands.offset > before.offset ? 'hole' : undefined;
}

/** What waits for one iterator. */
class Inbox {
  #limit;
  /** @type {(Message | Lost)[]} */
  #items = [];
  /** @type {Deferred<IteratorResult<Message | Lost>>[]} */
  #readers = [];
  /** @type {{ error: SockeyeError | undefined } | undefined} */
  #over;

  /** @param {number} limit */
  constructor(limit) {
    this.#limit = Math.max(1, limit);
  }

  /** @param {Message | Lost} item */
  push(item) {
    if (this.#over) return;
    const reader = this.#readers.shift();
    if (reader) return reader.resolve({ done: false, value: item });
    this.#items.push(item);
    if (this.#items.length > this.#limit) this.#items = [overflow(this.#items)];
  }

  /** @returns {Promise<IteratorResult<Message | Lost>>} */
  next() {
    const value = this.#items.shift();
    if (value) return Promise.resolve({ done: false, value });
    const over = this.#over;
    if (over?.error) {
      this.#over = { error: undefined };
      return Promise.reject(over.error);
    }
    if (over) return Promise.resolve({ done: true, value: undefined });
    /** @type {Deferred<IteratorResult<Message | Lost>>} */
    const reader = deferred();
    this.#readers.push(reader);
    return reader.promise;
  }

  /** @param {SockeyeError | undefined} error */
  end(error) {
    this.#over ??= { error };
    for (const reader of this.#readers.splice(0)) {
      if (error) reader.reject(error);
      else reader.resolve({ done: true, value: undefined });
    }
  }
}

/** One notice in place of all that waited. @param {(Message | Lost)[]} items @returns {Lost} */
function overflow(items) {
  const placed = items.filter((item) => (item.type === 'lost' ? item.to : item.offset) !== undefined);
  const [first, last] = [placed[0], placed.at(-1)];
  const from = first?.type === 'lost' ? first.from : first && positionOf(first, -1);
  const to = last?.type === 'lost' ? last.to : last && positionOf(last, 0);
  return { type: 'lost', channel: items[0]?.channel ?? '', from, to, reason: 'slow' };
}

/** @param {Message} message @param {number} shift @returns {Position | undefined} */
function positionOf({ epoch, offset }, shift) {
  return epoch === undefined || offset === undefined ? undefined : { epoch, offset: offset + shift };
}

// --- publishing --------------------------------------------------------------------------------------------------------

/**
 * @typedef {object} Entry a publication that was not answered yet
 * @property {string} body
 * @property {number} bytes
 * @property {boolean} retry
 * @property {number | undefined} firstSent
 * @property {Timer | undefined} timer runs from the first time it was sent
 * @property {number} oversized how many connections ended with 1009 while it was on its way
 * @property {boolean} settled
 * @property {() => void} wake ends a pause early
 * @property {Deferred<Position | undefined>} answer
 */

/**
 * Each publication takes effect once, and those of one channel in the order of the calls.
 *
 * Once: it has a key, and until it is answered it is sent again under the same key, for less time than the server remembers keys.
 *
 * In order: the next one of a channel leaves when the one before was answered. Sending both at once and then repeating both would
 * not do: the first may be refused (a rate limit, say), the second accepted, and the connection lost before the answers; repeated,
 * the first would be accepted now, behind the second. This costs one round trip for each publication of a channel;
 * `ordered: false` sends at once, for those to whom the order matters less.
 */
class Publisher {
  #connection;
  #maxCount;
  #maxBytes;
  #maxMessageBytes;
  #count = 0;
  #bytes = 0;
  /** @type {Map<unknown, Entry[]>} by channel; one without an order has a lane of its own */
  #lanes = new Map();
  #keyPrefix = randomName();
  #keys = 0;

  /** @param {Connection} connection @param {ConnectOptions} options */
  constructor(connection, { maxQueued = QUEUE_LIMIT, maxQueuedBytes = QUEUE_BYTES_LIMIT, maxMessageBytes = MESSAGE_BYTES_LIMIT }) {
    this.#connection = connection;
    this.#maxCount = maxQueued;
    this.#maxBytes = maxQueuedBytes;
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** @param {string} channel @param {unknown} data @param {PublishOptions} options @returns {Promise<Position | undefined>} */
  publish(channel, data, { event, key, echo, volatile = false, conflate, retry = true, ordered = true }) {
    if (typeof data === 'function' || typeof data === 'symbol') throw new TypeError('neither a JSON value nor bytes');
    const bytes = asBytes(data);
    const content = bytes ? { base64: toBase64(bytes) } : { data: data ?? null };
    const named = key ?? (retry && !volatile ? `${this.#keyPrefix}${(++this.#keys).toString(36)}` : undefined);
    const body = encode({ publish: channel, ...content, event, key: named, echo, volatile: volatile || undefined, conflate });
    const size = utf8Length(body);
    if (size + ID_BYTES > this.#maxMessageBytes) throw new SockeyeError('too_big', `${size} bytes; the server takes ${this.#maxMessageBytes}`);
    if (this.#connection.state.name === 'closed') throw new SockeyeError('closed');
    if (volatile) {
      this.#connection.sendVolatile(body);
      return Promise.resolve(undefined);
    }
    if (this.#count >= this.#maxCount || this.#bytes + size > this.#maxBytes) {
      throw new SockeyeError('limit', `${this.#count} publications of together ${this.#bytes} bytes wait for an answer`);
    }
    /** @type {Entry} */
    const entry = {
      body,
      bytes: size,
      retry,
      firstSent: undefined,
      timer: undefined,
      oversized: 0,
      settled: false,
      wake: () => {},
      answer: deferred(),
    };
    this.#count += 1;
    this.#bytes += size;
    this.#enqueue(ordered ? channel : entry, entry);
    return entry.answer.promise;
  }

  /** @param {SockeyeError} error */
  close(error) {
    for (const lane of this.#lanes.values()) {
      for (const entry of lane) this.#settle(entry, error);
    }
  }

  /** @param {unknown} name @param {Entry} entry */
  #enqueue(name, entry) {
    const lane = this.#lanes.get(name);
    if (lane) return void lane.push(entry);
    this.#lanes.set(name, [entry]);
    this.#drain(name, this.#lanes.get(name) ?? []);
  }

  /** @param {unknown} name @param {Entry[]} lane */
  async #drain(name, lane) {
    for (let entry = lane[0]; entry; entry = lane[0]) {
      for (let failures = 0; !entry.settled; failures++) await this.#attempt(entry, failures);
      lane.shift();
    }
    this.#lanes.delete(name);
  }

  /** @param {Entry} entry @param {number} failures */
  async #attempt(entry, failures) {
    // One that is sent once only does not wait longer than its timeout.
    if (entry.retry) await this.#connection.opened();
    if (entry.settled) return;
    entry.firstSent ??= Date.now();
    // The timer does not run while the machine sleeps, so the clock is asked as well.
    if (Date.now() - entry.firstSent >= RETRY_WINDOW_MS) return this.#giveUp(entry);
    entry.timer ??= setTimeout(() => this.#giveUp(entry), RETRY_WINDOW_MS);
    try {
      const ok = await this.#connection.request(entry.body);
      this.#settle(entry, undefined, readPosition(ok));
    } catch (thrown) {
      const error = /** @type {SockeyeError} */ (thrown);
      if (error.close?.code === 1009) entry.oversized += 1;
      // Twice the connection did not survive it: it is this one that is too big for the server, or in bad company.
      if (entry.oversized > 1) return this.#settle(entry, new SockeyeError('too_big', 'the server ended the connection', { close: error.close }));
      if (!entry.retry || !CAN_RETRY.has(error.code)) return this.#settle(entry, error);
      if (error.code !== 'disconnected') await this.#pause(entry, Math.max(backoff(failures), error.retryAfter ?? 0));
    }
  }

  /** @param {Entry} entry @param {number} ms @returns {Promise<void>} */
  #pause(entry, ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      entry.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** @param {Entry} entry */
  #giveUp(entry) {
    this.#settle(entry, new SockeyeError('timeout', 'no answer while the key was good; whether it took effect is not known'));
  }

  /** @param {Entry} entry @param {SockeyeError | undefined} error @param {Position} [position] */
  #settle(entry, error, position) {
    if (entry.settled) return;
    entry.settled = true;
    clearTimeout(entry.timer);
    this.#count -= 1;
    this.#bytes -= entry.bytes;
    if (error) entry.answer.reject(error);
    else entry.answer.resolve(position);
    entry.wake();
  }
}

// --- the connection ----------------------------------------------------------------------------------------------------

/**
 * @typedef {(error: SockeyeError | undefined, ok: Json) => void} Done
 *
 * @typedef {object} Command one that waits for a connection or for its reply
 * @property {string} body
 * @property {boolean} again harmless to ask on the next connection if this one did not answer
 * @property {number | undefined} id while it is on its way
 * @property {Timer} timer
 * @property {Done} done
 *
 * @typedef {object} Attempt from dialling to the end of that connection
 * @property {WebSocketLike | undefined} socket
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

/**
 * How long to pause after so many failures in a row: "full jitter", anything from nothing to a ceiling that doubles,
 * so that a thousand clients that lost the same server do not come back in the same instant.
 * @param {number} failures @param {() => number} [random] @returns {number} milliseconds
 */
export function backoff(failures, random = Math.random) {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.max(0, failures));
}

/** One connection after the other, the commands on it, and when to try again. Knows nothing of channels. */
class Connection {
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
  #lastId = 0;
  /** @type {Set<Command>} in the order of the calls */
  #commands = new Set();
  /** @type {Map<number, Command>} those on their way */
  #sent = new Map();
  /** @type {string[]} written in this turn */
  #outbox = [];
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

  /** @param {string | { readonly href: string }} url @param {ConnectOptions} options @param {Handlers} handlers */
  constructor(url, options, handlers) {
    this.#url = address(url);
    this.#options = options;
    this.#handlers = handlers;
    this.#token = options.token;
    if (!this.#constructorOf()) throw new TypeError('no global WebSocket here: pass one as the option WebSocket');
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
    for (const command of [...this.#commands]) this.#finish(command, error ?? new SockeyeError('closed'));
    this.#enter({ name: 'closed', error });
    this.#opening.resolve();
  }

  /** @returns {Promise<void>} when open, or closed for ever */
  opened() {
    return this.#state.name === 'open' || this.#state.name === 'closed' ? Promise.resolve() : this.#opening.promise;
  }

  /**
   * @param {object | string} command @param {{ timeout?: number | undefined, again?: boolean }} [options]
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
   * @param {{ timeout?: number | undefined, again?: boolean }} options
   * @param {Done} done
   */
  send(command, { timeout = this.#options.timeout ?? TIMEOUT_MS, again = false }, done) {
    if (this.#state.name === 'closed') return done(new SockeyeError('closed'), {});
    const waiting = this.#register(command, timeout, again, done);
    if (this.#state.name === 'open') this.#transmit(waiting);
  }

  /** How many commands wait. */
  get waiting() {
    return this.#commands.size;
  }

  /** Without a reply, and only if it can leave at once. @param {string} body */
  sendVolatile(body) {
    if (this.#state.name !== 'open' || (this.#attempt?.socket?.bufferedAmount ?? 0) > VOLATILE_BACKLOG_BYTES) return;
    this.#write(`{${body}`);
  }

  /** @param {string} token */
  async refresh(token) {
    this.#token = token;
    if (this.#state.name === 'open') await this.request({ refresh: { token } });
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
    attempt.deadline = setTimeout(() => this.#lost({ code: 1006, reason: 'no answer in time' }), CONNECT_DEADLINE_MS);
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
    /** @type {WebSocketLike} */
    let socket;
    try {
      socket = new (this.#constructorOf())(this.#url.href, [PROTOCOL]);
    } catch (cause) {
      this.#handlers.onError(new SockeyeError('disconnected', 'no WebSocket could be made', { cause }));
      return this.#attempt === attempt ? this.#lost({ code: 1006, reason: 'no WebSocket could be made' }) : undefined;
    }
    attempt.socket = socket;
    // Late events of an older socket change nothing.
    const ifCurrent = (/** @type {(event: any) => void} */ run) => (/** @type {any} */ event) => {
      if (this.#attempt === attempt) run(event);
    };
    socket.onopen = ifCurrent(() => this.#greet(attempt));
    socket.onmessage = ifCurrent((event) => this.#heard(attempt, event.data));
    socket.onclose = ifCurrent((event) => this.#lost({ code: event.code ?? 1006, reason: event.reason ?? '' }));
    // Says nothing that the close does not; but without a listener some implementations throw.
    socket.onerror = () => {};
  }

  /**
   * Nothing else leaves before the answer: what is sent behind a refused token would be done in the name of nobody.
   * @param {Attempt} attempt
   */
  #greet(attempt) {
    const hello = { connect: { token: this.#token, client: this.#options.name } };
    const command = this.#register(hello, CONNECT_DEADLINE_MS, false, (error, ok) => {
      if (this.#attempt !== attempt) return;
      if (error) this.#refused(error);
      else this.#greeted(attempt, ok);
    });
    this.#transmit(command);
  }

  /** @param {Attempt} attempt @param {Json} ok */
  #greeted(attempt, ok) {
    clearTimeout(attempt.deadline);
    attempt.openSince = Date.now();
    this.#keepAlive(ok.ping_every_ms);
    const session = typeof ok.session === 'string' ? ok.session : '';
    this.#enter({ name: 'open', session, user: typeof ok.user === 'string' ? ok.user : undefined });
    if (this.#attempt !== attempt) return;
    this.#handlers.onOpen();
    for (const command of this.#commands) {
      if (command.id === undefined) this.#transmit(command);
    }
    this.#opening.resolve();
  }

  /** @param {SockeyeError} error */
  #refused(error) {
    if (error.code === 'disconnected') return;
    const stale = error.code === 'token_expired' && this.#options.getToken !== undefined;
    if (stale) this.#token = undefined;
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
    this.#outbox = [];
    this.#probing = false;
    // Where it is closed already, this does nothing.
    attempt.socket?.close(1000);
    if (attempt.openSince !== undefined) {
      this.#opening = deferred();
      this.#state = { name: 'connecting' };
      this.#handlers.onDown();
    }
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    for (const command of sent) {
      command.id = undefined;
      if (!command.again) this.#finish(command, error);
    }
  }

  // Commands and replies.

  /** @param {object | string} command @param {number} timeout @param {boolean} again @param {Done} done */
  #register(command, timeout, again, done) {
    const body = typeof command === 'string' ? command : encode(command);
    const timer = setTimeout(() => this.#finish(waiting, new SockeyeError('timeout', 'no reply')), timeout);
    /** @type {Command} */
    const waiting = { body, again, id: undefined, timer, done };
    this.#commands.add(waiting);
    return waiting;
  }

  /** @param {Command} command */
  #transmit(command) {
    command.id = ++this.#lastId;
    this.#sent.set(command.id, command);
    this.#write(`{"id":${command.id},${command.body}`);
  }

  /** @param {Command} command @param {SockeyeError | undefined} error @param {Json} [ok] */
  #finish(command, error, ok = {}) {
    if (!this.#commands.delete(command)) return;
    if (command.id !== undefined) this.#sent.delete(command.id);
    clearTimeout(command.timer);
    command.done(error, ok);
  }

  /** What is written in one turn leaves together. @param {string} text */
  #write(text) {
    if (this.#outbox.push(text) > 1) return;
    const attempt = this.#attempt;
    queueMicrotask(() => {
      if (this.#attempt !== attempt || !attempt?.socket) return;
      for (const message of batches(this.#outbox.splice(0))) {
        try {
          attempt.socket.send(message);
        } catch {
          // It is closing: the event that follows says so, and what was not answered is dealt with there.
        }
      }
    });
  }

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
      const command = this.#sent.get(object.id);
      // The answer to one that was given up comes late.
      if (!command) return;
      if (isObject(object.error)) this.#finish(command, readError(object.error));
      else if (isObject(object.ok)) this.#finish(command, undefined, object.ok);
      else this.#finish(command, new SockeyeError('protocol', 'a reply without ok and error'));
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
    // Perhaps on another network, where the old connection leads nowhere.
    if (this.#state.name === 'open') this.#probe(PROBE_MS);
    else this.#hurry();
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

  #constructorOf() {
    const given = this.#options.WebSocket ?? globalThis.WebSocket;
    return /** @type {new (url: string, protocols: string[]) => WebSocketLike} */ (given);
  }

  /** @param {State} state */
  #enter(state) {
    this.#state = state;
    this.#handlers.onState(state);
  }
}

/**
 * Listens where there is something to listen to; a program without a window hears nothing.
 * @param {{ offline: () => void, online: () => void, frozen: () => void, resumed: () => void, shown: () => void }} on @returns {() => void} stops
 */
function watchPage(on) {
  const page = globalThis.document;
  const persisted = (/** @type {() => void} */ run) => (/** @type {any} */ event) => {
    if (event.persisted) run();
  };
  /** @type {[EventTarget | undefined, string, (event: Event) => void][]} */
  const watched = [
    [globalThis, 'offline', on.offline],
    [globalThis, 'online', on.online],
    // To and from the cache for going back, which does not take pages with open connections.
    [globalThis, 'pagehide', persisted(on.frozen)],
    [globalThis, 'pageshow', persisted(on.resumed)],
    [page, 'freeze', on.frozen],
    [page, 'resume', on.resumed],
    [page, 'visibilitychange', () => page.hidden || on.shown()],
  ];
  for (const [target, type, listener] of watched) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of watched) target?.removeEventListener?.(type, listener);
  };
}

// --- the border: what arrives is unknown, what leaves here is valid ----------------------------------------------------

/** @param {string | { readonly href: string }} url */
function address(url) {
  const resolved = new URL(typeof url === 'string' ? url : url.href, globalThis.location?.href);
  if (resolved.protocol === 'http:' || resolved.protocol === 'https:') resolved.protocol = resolved.protocol.replace('http', 'ws');
  if (resolved.protocol !== 'ws:' && resolved.protocol !== 'wss:') throw new TypeError(`not an address of a WebSocket: ${resolved.protocol}`);
  resolved.hash = '';
  return resolved;
}

/** @param {URL} url */
function isLoopback({ hostname }) {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

/** JSON without its first brace, so that an `id` can be put in front each time it is sent. @param {object} command */
function encode(command) {
  return JSON.stringify(command).slice(1);
}

/** As few messages as the limits allow. @param {string[]} texts @returns {string[]} */
function batches(texts) {
  /** @type {string[]} */
  const messages = [];
  /** @type {string[]} */
  let batch = [];
  let length = 0;
  const flush = () => {
    if (batch.length > 0) messages.push(batch.length === 1 ? batch.join() : `[${batch.join()}]`);
    batch = [];
    length = 0;
  };
  for (const text of texts) {
    if (batch.length >= BATCH_LIMIT || length + text.length > BATCH_LENGTH) flush();
    batch.push(text);
    length += text.length;
  }
  flush();
  return messages;
}

/** @param {unknown} data @returns {unknown} nothing if it is no JSON */
function parse(data) {
  if (typeof data !== 'string' || data.length > RECEIVE_LIMIT) return undefined;
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/** @param {unknown} value @returns {value is Json} */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @param {unknown} value @returns {value is number} */
function isCount(value) {
  return Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;
}

/** @param {Json} object @returns {Position | undefined} */
function readPosition({ epoch, offset }) {
  return typeof epoch === 'string' && isCount(offset) ? { epoch, offset } : undefined;
}

/** @param {unknown} value @returns {number | undefined} milliseconds that a timer can wait */
function readPause(value) {
  return typeof value === 'number' && value >= 0 ? Math.min(value, RETRY_AFTER_CAP_MS) : undefined;
}

/** @param {Json} object @returns {SockeyeError} */
function readError({ code, message, retry_after_ms: hint }) {
  return new SockeyeError(typeof code === 'string' ? code : 'internal', typeof message === 'string' ? message : '', { retryAfter: readPause(hint) });
}

/** @param {unknown} list @returns {Member[]} the well-formed ones */
function readMembers(list) {
  if (!Array.isArray(list)) return [];
  return list.slice(0, MEMBERS_LIMIT).flatMap((entry) => {
    if (!isObject(entry) || typeof entry.session !== 'string') return [];
    const { session, user, as } = entry;
    return [{ session, user: typeof user === 'string' ? user : undefined, as }];
  });
}

/** @param {string} channel @param {string | undefined} epoch @param {unknown} object @returns {Message | undefined} */
function readMessage(channel, epoch, object) {
  if (!isObject(object)) return undefined;
  const { data, base64, offset, event, from, at } = object;
  const content = base64 === undefined ? data : fromBase64(base64);
  if (content === undefined) return undefined;
  /** @type {Message} */
  const message = { type: 'message', channel, data: content };
  if (isCount(offset) && epoch !== undefined) Object.assign(message, { epoch, offset });
  if (typeof event === 'string') message.event = event;
  const [sender] = readMembers([from]);
  if (sender) message.from = sender;
  if (typeof at === 'number') message.at = at;
  return message;
}

/** @param {unknown} data @returns {Uint8Array | undefined} nothing if these are no bytes */
function asBytes(data) {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : undefined;
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  let text = '';
  // In pieces: arguments are on the stack.
  for (let start = 0; start < bytes.length; start += 8192) text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  return btoa(text);
}

/** @param {unknown} text @returns {Uint8Array | undefined} */
function fromBase64(text) {
  if (typeof text !== 'string') return undefined;
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** @param {string} text */
function utf8Length(text) {
  return new TextEncoder().encode(text).length;
}

/** A name that nobody else has. */
function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('') + '-';
}

/** @template T @returns {Deferred<T>} */
function deferred() {
  /** @type {(value: T) => void} */
  let resolve = () => {};
  /** @type {(error: unknown) => void} */
  let reject = () => {};
  /** @type {Promise<T>} */
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
