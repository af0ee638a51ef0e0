/** A client, a server, and a hostile proxy between them: real requests on this machine, and a count of what arrives. */

import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { startProxy } from '../../tests/hostile-proxy.js';
import { connect } from '../sockeye.js';
import { Carrier } from './carrier.js';

/** @typedef {import('../sockeye.js').ConnectOptions} ConnectOptions */
/** @typedef {import('../sockeye.js').Client} Client */
/** @typedef {import('../../tests/hostile-proxy.js').Manners} Manners */

export const WITHIN_MS = 20_000;

/**
 * @param {import('node:test').TestContext} test @param {Manners} [manners] @param {ConnectOptions} [options]
 */
export async function road(test, manners = {}, options = {}) {
  const carrier = await Carrier.start(test);
  const proxy = await startProxy(carrier.port, manners);
  test.after(() => proxy.stop());
  const dial = (/** @type {ConnectOptions} */ more = {}) => {
    const client = connect(`${proxy.ws}/ws`, { WebSocket, ...options, ...more });
    test.after(() => client.close());
    return client;
  };
  return { carrier, proxy, dial };
}

/** Until the client is connected. @param {Client} client @param {(state: { transport: string }) => boolean} [wanted] */
export function opened(client, wanted = () => true) {
  return within(new Promise((resolve) => {
    const look = () => {
      if (client.state.name === 'open' && wanted(client.state)) resolve(client.transport);
    };
    client.addEventListener('state', look);
    look();
  }), () => `open; it is ${JSON.stringify(client.state)}`);
}

/** @template T @param {Promise<T>} promise @param {() => string} what @param {number} [ms] @returns {Promise<T>} */
export async function within(promise, what, ms = WITHIN_MS) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what()}`)), ms);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Publishes so many and hears them, each once and in order, whatever happens meanwhile.
 * @param {Client} client @param {number} count @param {(number: number) => unknown} [meanwhile] @param {string} [channel]
 */
export async function everythingArrives(client, count, meanwhile = () => {}, channel = 'chat:lobby') {
  const room = client.subscribe(channel);
  /** @type {number[]} */
  const heard = [];
  /** @type {(value?: unknown) => void} */
  let done = () => {};
  const all = new Promise((resolve) => (done = resolve));
  room.onlost = ({ reason }) => assert.fail(`lost: ${reason}`);
  room.onmessage = ({ data, offset }) => {
    assert.equal(offset, heard.push(data), 'positions follow each other');
    if (heard.length === count) done();
  };
  await within(room.ready, () => 'subscribed');
  const said = (async () => {
    for (let number = 1; number <= count; number++) {
      await client.publish(channel, number);
      await meanwhile(number);
    }
  })();
  // The pauses between attempts are chance, and some of them are half a minute.
  await within(Promise.all([said, all]), () => `all of them; ${heard.length} were heard, and it is ${JSON.stringify(client.state)}`, 6 * WITHIN_MS);
  assert.deepEqual(heard, Array.from({ length: count }, (_, index) => index + 1));
  return room;
}
