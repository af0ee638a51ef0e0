/** The page and the machine below it: offline, frozen, hidden, back. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROBE_MS, connect } from '../sockeye.js';
import { FakeSocket, agree, greet, pass, pause, settle, world } from './world.js';

/**
 * A window and a document that do what the test says.
 * @param {import('node:test').TestContext} t
 * @param {boolean} [onLine]
 */
function page(t, onLine = true) {
  /** How many listen. */
  let listeners = 0;
  class Target extends EventTarget {
    /** @param {string} type @param {(event: Event) => void} listener */
    addEventListener(type, listener) {
      listeners += 1;
      super.addEventListener(type, listener);
    }
    /** @param {string} type @param {(event: Event) => void} listener */
    removeEventListener(type, listener) {
      listeners -= 1;
      super.removeEventListener(type, listener);
    }
  }
  const window = new Target();
  const document = Object.assign(new Target(), { hidden: false });
  const connection = new Target();
  const navigator = { onLine, connection };
  const globals = {
    document,
    navigator,
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window),
  };
  const before = Object.keys(globals).map((name) => /** @type {const} */ ([name, Object.getOwnPropertyDescriptor(globalThis, name)]));
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true });
  t.after(() => {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
    }
  });
  return {
    listeners: () => listeners,
    /** @param {string} type @param {object} [detail] */
    window: (type, detail = {}) => {
      if (type === 'online' || type === 'offline') navigator.onLine = type === 'online';
      window.dispatchEvent(Object.assign(new Event(type), detail));
    },
    otherNetwork: () => connection.dispatchEvent(new Event('change')),
    /** The network is back, and nobody says so. */
    silentlyOnline: () => void (navigator.onLine = true),
    /** @param {string} type @param {boolean} [hidden] */
    document: (type, hidden = false) => {
      document.hidden = hidden;
      document.dispatchEvent(new Event(type));
    },
  };
}

test('offline: no attempts; online: at once', async (t) => {
  const host = page(t);
  const { client, socket, states, count } = world(t);
  await greet(socket());
  socket().drop();
  host.window('offline');
  assert.deepEqual(client.state, { name: 'paused', reason: 'offline' });
  await pass(3_600_000);
  assert.equal(count(), 1);
  host.window('online');
  assert.equal(count(), 2);
  assert.deepEqual(states, ['connecting', 'open', 'waiting', 'paused', 'connecting']);
});

test('an attempt under way when the network goes is ended', async (t) => {
  const host = page(t);
  const { client, socket } = world(t);
  host.window('offline');
  assert.equal(client.state.name, 'paused');
  assert.equal(socket().closedWith, 1000);
});

test('a connection that still answers outlives a browser that thinks it is offline', async (t) => {
  const host = page(t);
  const { client, socket, count } = world(t);
  await greet(socket());
  host.window('offline');
  assert.deepEqual(await agree(socket()), { ping: {} });
  await pass(PROBE_MS);
  assert.equal(client.state.name, 'open');
  host.window('online');
  assert.deepEqual(await agree(socket()), { ping: {} });
  host.window('offline');
  await pass(PROBE_MS);
  assert.deepEqual(client.state, { name: 'paused', reason: 'offline' });
  assert.equal(count(), 1);
});

test('on another network an old connection that does not answer is left', async (t) => {
  const host = page(t);
  const { client, socket } = world(t);
  await greet(socket());
  host.window('online');
  await pass(PROBE_MS);
  assert.equal(client.state.name, 'waiting');
});

test('so it is where a browser tells that the network is another one', async (t) => {
  const host = page(t);
  const { client, socket } = world(t);
  await greet(socket());
  host.otherNetwork();
  assert.deepEqual(await agree(socket()), { ping: {} });
  await pass(PROBE_MS);
  assert.equal(client.state.name, 'open', 'it answered');
  host.otherNetwork();
  await pass(PROBE_MS);
  const left = pause(client);
  host.otherNetwork();
  assert.equal(pause(client), left, 'a pause is sat out: some browsers tell it again and again');
});

test('begun offline it waits; on this machine itself there is no offline', async (t) => {
  const host = page(t, false);
  const { client, count } = world(t);
  assert.equal(client.state.name, 'paused');
  assert.equal(count(), 0);
  host.window('online');
  assert.equal(count(), 1);
  for (const name of ['localhost', '127.0.0.1', '[::1]', 'a.localhost']) {
    const local = connect(`ws://${name}:8080/ws`, { WebSocket: FakeSocket });
    host.window('offline');
    assert.equal(local.state.name, 'connecting', name);
    local.close();
  }
});

test('frozen: the connection is given back, and what was missed is caught up with', async (t) => {
  const host = page(t);
  const { client, socket, count } = world(t);
  const room = client.subscribe('chat');
  /** @type {unknown[]} */
  const log = [];
  room.onmessage = ({ data }) => log.push(data);
  room.onlost = ({ reason }) => log.push(reason);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 }, { on: 'chat', offset: 2, data: 2 });
  host.document('freeze');
  assert.deepEqual(client.state, { name: 'paused', reason: 'frozen' });
  assert.equal(socket().closedWith, 1000);
  await pass(3_600_000);
  assert.equal(count(), 1);
  host.document('resume');
  await greet(socket());
  const command = await agree(socket(), { epoch: 'e', offset: 3, catch_up: 1, recovered: true }, { on: 'chat', offset: 3, data: 3 });
  assert.deepEqual(command.since, { epoch: 'e', offset: 2 });
  assert.deepEqual(log, [2, 3]);
});

test('into the cache for going back and out of it', async (t) => {
  const host = page(t);
  const { client, socket, states } = world(t);
  await greet(socket());
  host.window('pagehide', { persisted: false });
  assert.equal(client.state.name, 'open');
  host.window('pagehide', { persisted: true });
  host.document('freeze');
  assert.equal(client.state.name, 'paused');
  host.window('pageshow', { persisted: true });
  assert.deepEqual(states, ['connecting', 'open', 'paused', 'connecting']);
});

test('frozen and offline: both must be over', async (t) => {
  const host = page(t);
  const { client, socket } = world(t);
  await greet(socket());
  host.document('freeze');
  host.window('offline');
  host.document('resume');
  assert.equal(client.state.name, 'paused');
  host.window('online');
  assert.equal(client.state.name, 'connecting');
});

for (const [name, freeze, resume] of /** @type {[string, (host: ReturnType<typeof page>) => void, (host: ReturnType<typeof page>) => void][]} */ ([
  ['frozen', (host) => host.document('freeze'), (host) => host.document('resume')],
  ['in the cache', (host) => host.window('pagehide', { persisted: true }), (host) => host.window('pageshow', { persisted: true })],
])) {
  test(`a network that came back while the page was ${name} is found when it resumes`, async (t) => {
    const host = page(t);
    const { client, socket, count } = world(t);
    await greet(socket());
    host.window('offline');
    freeze(host);
    await pass(60_000);
    assert.equal(client.state.name, 'paused');
    host.silentlyOnline();
    resume(host);
    assert.equal(client.state.name, 'connecting');
    assert.equal(count(), 2, 'one attempt');
  });
}

test('looked at again: the pause is cut short, but not the one that the server asked for', async (t) => {
  const host = page(t);
  const { client, socket, count } = world(t);
  await greet(socket());
  socket().drop();
  host.document('visibilitychange', true);
  assert.equal(client.state.name, 'waiting');
  host.document('visibilitychange', false);
  assert.equal(count(), 2);
  await greet(socket());
  socket().say({ bye: { code: 1012, reason: 'restart', retry_after_ms: 600 } });
  socket().drop(1012);
  assert.equal(pause(client), 1000);
  host.document('visibilitychange', false);
  assert.equal(pause(client), 600);
  host.window('online');
  assert.equal(pause(client), 600);
  await pass(600);
  assert.equal(count(), 3);
});

test('looked at again after a silence: is it still there?', async (t) => {
  const host = page(t);
  const { client, socket } = world(t);
  await greet(socket());
  host.document('visibilitychange', false);
  await settle();
  assert.deepEqual(socket().take(), [], 'heard a moment ago');
  await pass(60_000);
  host.document('visibilitychange', false);
  await settle();
  assert.equal(socket().take().length, 1);
  await pass(PROBE_MS);
  assert.equal(client.state.name, 'waiting');
});

test('a closed client listens to nothing', async (t) => {
  const host = page(t);
  const { client, count } = world(t);
  assert.equal(host.listeners(), 8);
  client.close();
  assert.equal(host.listeners(), 0);
  host.window('offline');
  host.window('online');
  host.document('freeze');
  host.document('resume');
  assert.equal(client.state.name, 'closed');
  assert.equal(count(), 1);
});
