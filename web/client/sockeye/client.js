/** What `connect` gives: the subscriptions by name, and the commands that are no subscription. */

import { isCount, readMembers, readMessage, readPosition } from './border.js';
import { Connection } from './connection.js';
import { Emitter, SockeyeError } from './events.js';
import { COMMANDS_LIMIT, SESSIONS_LIMIT, TOO_FAST, subscribeAfter } from './limits.js';
import { Publisher } from './publisher.js';
import { Subscription } from './subscription.js';

/** @import * as Api from '../sockeye.d.ts' */
/** @import { ConnectOptions, State } from '../sockeye.d.ts' */
/** @import { Port } from './subscription.js' */

/** @type {typeof Api.connect} */
export function connect(url, options = {}) {
  return new Client(url, options);
}

/** @extends {Emitter<Api.ClientEvents>} @implements {Api.Client} */
export class Client extends Emitter {
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
  /** Whether all channels at once were too much for the server. */
  #isPaced = false;

  /** @param {string | { readonly href: string }} url @param {ConnectOptions} [options] */
  constructor(url, options = {}) {
    super();
    this.#options = options;
    this.#connection = new Connection(url, options, {
      onState: (state) => this.#stateChanged(state),
      onOpen: () => this.#eachPort((port, index) => port.connected(this.#isPaced ? subscribeAfter(index) : 0)),
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

  get transport() {
    return this.state.name === 'open' ? this.state.transport : undefined;
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
    return (await this.#request({ call: method, data }, { timeout, once: true })).data;
  }

  /** @type {Api.Client['refresh']} */
  async refresh(token) {
    await this.#connection.refresh(token);
  }

  close() {
    this.#connection.close(undefined);
  }

  /** @param {object} command @param {{ timeout?: number | undefined, again?: boolean, once?: boolean }} options */
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
    if (state.name === 'waiting' && state.close.code === TOO_FAST) this.#isPaced = true;
    if (state.name === 'closed') {
      this.#publisher.close(state.error ?? new SockeyeError('closed'));
      this.#eachPort((port) => port.ended(state.error));
    }
    this.emit('state', { state });
  }

  /** @param {(port: Port, index: number) => void} visit */
  #eachPort(visit) {
    for (const [index, { port }] of [...this.#subscriptions.values()].entries()) visit(port, index);
  }
}
