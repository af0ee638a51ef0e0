/** A server of the protocol, as small as it can be: what docs/protocol.md says, for tests to run the client against. */

/** @typedef {Record<string, any>} Json */
/** @typedef {{ session: string, say: (...objects: Json[]) => void, channels: Map<string, Json> }} Peer */

export class Hub {
  /** @type {Map<string, { epoch: string, log: Json[], keys: Map<string, number>, peers: Set<Peer> }>} */
  channels = new Map();
  /** How many publications of a channel it can still send. */
  window;
  /** Asked before each publication: an error code, or nothing. @type {() => string | undefined} */
  refuses = () => undefined;
  #sessions = 0;

  constructor(window = 1000) {
    this.window = window;
  }

  /**
   * @param {(text: string) => void} send
   * @returns {{ heard: (text: string) => void, gone: () => void, say: (...objects: Json[]) => void }}
   */
  accept(send) {
    /** @type {Peer} */
    const peer = { session: `s${++this.#sessions}`, say: (...objects) => send(JSON.stringify(objects.length === 1 ? objects[0] : objects)), channels: new Map() };
    return {
      heard: (text) => {
        const value = JSON.parse(text);
        for (const command of Array.isArray(value) ? value : [value]) this.#carryOut(peer, command);
      },
      gone: () => {
        for (const name of [...peer.channels.keys()]) this.#leave(peer, name);
      },
      say: peer.say,
    };
  }

  /** @param {string} name */
  channel(name) {
    /** @type {{ epoch: string, log: Json[], keys: Map<string, number>, peers: Set<Peer> }} */
    const channel = this.channels.get(name) ?? { epoch: 'e1', log: [], keys: new Map(), peers: new Set() };
    this.channels.set(name, channel);
    return channel;
  }

  /** The channel begins anew; who is subscribed is told. @param {string} name */
  forget(name) {
    const channel = this.channel(name);
    Object.assign(channel, { epoch: `e${Number(channel.epoch.slice(1)) + 1}`, log: [] });
    for (const peer of channel.peers) peer.say({ on: name, lost: { epoch: channel.epoch, offset: 0, reason: 'epoch' } });
  }

  /** @param {Peer} peer @param {Json} command */
  #carryOut(peer, { id, ...command }) {
    /** @type {Json} */
    const verbs = {
      connect: () => ({ session: peer.session, ping_every_ms: 25_000 }),
      ping: () => ({}),
      call: () => ({ data: command.data }),
      subscribe: () => this.#subscribe(peer, command),
      unsubscribe: () => this.#leave(peer, command.unsubscribe),
      publish: () => this.#publish(peer, command),
      presence: () => ({ count: this.#members(command.presence).length, members: this.#members(command.presence) }),
      history: () => this.#history(command),
    };
    const verb = Object.keys(command).find((name) => verbs[name]);
    const answer = verb ? verbs[verb]() : { code: 'unknown_verb' };
    const reply = 'code' in answer ? { error: { message: '', ...answer } } : { ok: answer };
    if (id !== undefined || 'error' in reply) peer.say({ id, ...reply });
    // Publications follow the reply.
    for (const object of answer.follows?.splice(0) ?? []) peer.say(object);
  }

  /** @param {Peer} peer @param {Json} command */
  #subscribe(peer, { subscribe: name, since, last, as, members, echo }) {
    const { epoch, log, peers } = this.channel(name);
    if (peers.has(peer)) return { code: 'already_subscribed' };
    const recovered = since && since.epoch === epoch && since.offset >= log.length - this.window && since.offset <= log.length;
    const from = recovered ? since.offset : since ? log.length : log.length - Math.min(last ?? 0, log.length, this.window);
    peers.add(peer);
    peer.channels.set(name, { as, echo, members: members ?? as !== undefined });
    const joined = { on: name, join: { session: peer.session, as } };
    if (as !== undefined) for (const other of peers) if (other !== peer && other.channels.get(name)?.members) other.say(joined);
    /** @type {Json[]} */
    const follows = log.slice(from).map((item) => ({ on: name, ...item }));
    /** @type {Json} */
    const answer = { epoch, offset: log.length, catch_up: follows.length, recovered: since ? recovered : undefined, members: this.#members(name) };
    Object.defineProperty(answer, 'follows', { value: follows });
    return answer;
  }

  /** @param {Peer} peer @param {string} name */
  #leave(peer, name) {
    const options = peer.channels.get(name);
    if (!options) return { code: 'not_subscribed' };
    peer.channels.delete(name);
    const { peers } = this.channel(name);
    peers.delete(peer);
    if (options.as !== undefined) for (const other of peers) if (other.channels.get(name)?.members) other.say({ on: name, leave: { session: peer.session } });
    return {};
  }

  /** @param {Peer} peer @param {Json} command */
  #publish(peer, { publish: name, key, echo, volatile, conflate: _, ...item }) {
    const code = this.refuses();
    if (code) return { code };
    const { epoch, log, keys, peers } = this.channel(name);
    const known = keys.get(key);
    if (known !== undefined) return { epoch, offset: known };
    const publication = { ...item, from: { session: peer.session }, at: 1732147200000 };
    const offset = log.length + 1;
    if (!volatile) log.push({ offset, ...publication });
    if (key !== undefined) keys.set(key, offset);
    for (const other of peers) {
      const silent = other === peer && (echo === false || other.channels.get(name)?.echo === false);
      if (silent && !volatile) other.say({ on: name, offset });
      else if (!silent) other.say({ on: name, ...(volatile ? {} : { offset }), ...publication });
    }
    return volatile ? {} : { epoch, offset };
  }

  /** @param {string} name */
  #members(name) {
    return [...this.channel(name).peers].filter((peer) => peer.channels.get(name)?.as !== undefined).map((peer) => ({ session: peer.session, as: peer.channels.get(name)?.as }));
  }

  /** @param {Json} command */
  #history({ history: name, since, limit = 50, reverse = false }) {
    const { epoch, log } = this.channel(name);
    if (since && since.epoch !== epoch) return { code: 'position_lost' };
    const all = reverse ? log.slice(0, since ? since.offset - 1 : undefined).reverse() : log.slice(since?.offset ?? 0);
    return { epoch, offset: log.length, items: all.slice(0, limit), more: all.length > limit };
  }
}
