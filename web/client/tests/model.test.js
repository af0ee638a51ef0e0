/**
 * The promise under random weather: connections break in the middle of anything, messages on the way are lost, publications
 * are refused at times, the history is short. `SEEDS` says how many courses of events; each is named by its seed.
 */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { connect } from '../sockeye.js';
import { Hub } from './hub.js';
import { settle } from './world.js';

const SEEDS = Number(process.env.SEEDS ?? 150);
const STEPS = 250;
const ROOM = 'chat:lobby';

/** @param {number} seed a generator of numbers from 0 to 1 that gives the same again */
function dice(seed) {
  let state = seed * 2654435761 + 1;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

/** A network whose cables break. @param {Hub} hub */
function network(hub) {
  /** @type {Set<Cable>} */
  const cables = new Set();
  class Cable {
    /** @type {((event: any) => void) | null} */
    onopen = null;
    /** @type {((event: any) => void) | null} */
    onmessage = null;
    /** @type {((event: any) => void) | null} */
    onclose = null;
    /** @type {((event: any) => void) | null} */
    onerror = null;
    /** @type {string[]} */
    up = [];
    /** @type {string[]} */
    down = [];
    isOpen = false;
    far = hub.accept((text) => this.down.push(text));
    constructor() {
      cables.add(this);
    }
    /** @param {string} text */
    send(text) {
      this.up.push(text);
    }
    close() {
      this.far.gone();
      cables.delete(this);
    }
    /** One thing happens on it. @param {() => number} roll */
    step(roll) {
      const up = roll() < 0.5;
      if (!this.isOpen) {
        this.isOpen = true;
        this.onopen?.({});
      } else if (up && this.up.length > 0) this.far.heard(this.up.shift() ?? '');
      else if (this.down.length > 0) this.onmessage?.({ data: this.down.shift() });
    }
    break() {
      this.close();
      this.onclose?.({ code: 1006, reason: '' });
    }
  }
  return { cables, Cable };
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`seed ${seed}`, async (t) => {
    const roll = dice(seed);
    const forgets = seed % 5 === 0;
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_732_147_200_000 });
    mock.method(Math, 'random', roll);
    const hub = new Hub(seed % 3 === 0 ? 5 : 1000);
    const { cables, Cable } = network(hub);
    const [writer, reader] = [connect('ws://here/', { WebSocket: Cable, transports: ['websocket'] }), connect('ws://here/', { WebSocket: Cable, transports: ['websocket'] })];
    t.after(() => {
      writer.close();
      reader.close();
      mock.timers.reset();
      mock.restoreAll();
    });
    const room = reader.subscribe(ROOM, seed % 2 ? {} : { as: seed });
    /** @type {(import('../sockeye.js').Message | import('../sockeye.js').Lost)[]} */
    const heard = [];
    room.onmessage = (message) => heard.push(message);
    room.onlost = (lost) => heard.push(lost);
    const own = writer.subscribe(ROOM, { echo: false });
    own.onmessage = () => assert.fail('it asked for no echo');
    own.onlost = ({ reason }) => assert.notEqual(reason, 'hole');
    hub.refuses = () => (roll() < 0.1 ? 'rate_limited' : undefined);

    let published = 0;
    /** @type {number[]} */
    const answered = [];
    for (let step = 0; step < STEPS; step++) {
      const event = roll();
      if (event < 0.15) {
        const number = ++published;
        writer.publish(ROOM, number).then(() => answered.push(number), (error) => error.code === 'closed' || assert.fail(error));
      } else if (event < 0.2) [...cables][Math.floor(roll() * cables.size)]?.break();
      else if (event < 0.3) mock.timers.tick(Math.floor(roll() * 1000));
      else if (event < 0.305 && forgets) hub.forget(ROOM);
      else [...cables][Math.floor(roll() * cables.size)]?.step(roll);
      if (roll() < 0.5) await settle();
    }
    // The weather clears.
    hub.refuses = () => undefined;
    for (let calm = 0; calm < 2000 && (answered.length < published || room.state !== 'live' || [...cables].some(({ up, down }) => up.length + down.length > 0)); calm++) {
      for (const cable of [...cables]) cable.step(roll);
      mock.timers.tick(100);
      await settle();
    }

    assert.equal(answered.length, published, 'every publication was answered');
    assert.deepEqual(answered, [...answered].sort((a, b) => a - b), 'in order');
    const { log } = hub.channel(ROOM);
    if (!forgets) assert.deepEqual(log.map(({ data }) => data), Array.from({ length: published }, (_, index) => index + 1), 'each took effect once, in order');
    checkContinuity(heard, log);
  });
}

/**
 * Every publication is the one behind the last, unless it was said that something is missing; and the end is the end.
 * @param {(import('../sockeye.js').Message | import('../sockeye.js').Lost)[]} heard
 * @param {Record<string, any>[]} log
 */
function checkContinuity(heard, log) {
  /** @type {import('../sockeye.js').Position | undefined} */
  let position;
  for (const item of heard) {
    if (item.type === 'lost') {
      assert.notEqual(item.reason, 'hole', 'this server leaves nothing out');
      if (position) assert.deepEqual(item.from, position);
      position = item.to;
      continue;
    }
    const { epoch = '', offset = 0 } = item;
    if (position) assert.deepEqual({ epoch, offset }, { epoch: position.epoch, offset: position.offset + 1 });
    position = { epoch, offset };
  }
  if (position) assert.equal(position.offset, log.length);
}
