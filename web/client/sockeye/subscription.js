/** One channel, across as many connections as it takes. */

import { isCount, isObject, readError, readMembers, readMessage, readPosition } from './border.js';
import { Emitter, SockeyeError, deferred } from './events.js';
import { Inbox } from './inbox.js';
import { BUFFER_LIMIT, CAN_SUBSCRIBE_LATER, MEMBERS_LIMIT, STABLE_AFTER_MS, backoff } from './limits.js';

/** @import * as Api from '../sockeye.d.ts' */
/** @import { Lost, Member, Message, Position } from '../sockeye.d.ts' */
/** @import { Json } from './border.js' */
/** @import { Client } from './client.js' */
/** @import { Done } from './commands.js' */
/** @import { Deferred } from './events.js' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * What a subscription shows the client, and only the client; and what it needs from there.
 * @typedef {object} Port
 * @property {Subscription} subscription
 * @property {(afterMs: number) => void} connected asks, now or later
 * @property {() => void} disconnected
 * @property {(object: Json) => void} received
 * @property {(error: SockeyeError | undefined) => void} ended
 *
 * @typedef {{ request: (command: object, done: Done) => void, isOpen: () => boolean, isOwn: (session: string) => boolean, left: () => void }} Link
 */

/** @extends {Emitter<Api.SubscriptionEvents>} @implements {Api.Subscription} */
export class Subscription extends Emitter {
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
      connected: (afterMs) => this.#askAfter(afterMs),
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

  /** @param {number} ms */
  #askAfter(ms) {
    if (ms > 0) this.#timer = setTimeout(() => this.#ask(false), ms);
    else this.#ask(false);
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
