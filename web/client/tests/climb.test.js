/** Down to a stream and back up, in time that passes when the test says so; the server on both roads is the test. */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { CONNECT_DEADLINE_MS, PROVE_MS } from '../sockeye/limits.js';
import { Memory } from '../sockeye/memory.js';
import { FakeSocket, greet, pass, pause, settle, world } from './world.js';

/** @typedef {import('../sockeye.js').ConnectOptions} ConnectOptions */
/** @typedef {import('../sockeye.js').Client} Client */

/** The server's end of a conversation over HTTP. */
class FakeStream {
  /** @type {(response: Response | PromiseLike<never>) => void} */
  #answer = () => {};
  /** @type {ReadableStreamDefaultController<Uint8Array> | undefined} */
  #body;
  /** @type {FakeStream[]} */
  static all = [];
  /** Commands that came by POST. @type {Record<string, any>[]} */
  commands = [];

  constructor() {
    this.response = new Promise((resolve) => (this.#answer = resolve));
    FakeStream.all.push(this);
  }

  /** It opens, and what the client says first is answered. */
  async greet() {
    this.#answer(new Response(new ReadableStream({ start: (body) => void (this.#body = body) })));
    await settle();
    this.say({ open: { id: 'abc', heartbeat_ms: 3_600_000 } });
    await settle();
    const hello = this.commands.shift();
    assert.ok(hello?.connect);
    this.say({ id: hello.id, ok: { session: 's1' } });
    await settle();
  }

  /** @param {object} object */
  say(object) {
    this.#body?.enqueue(new TextEncoder().encode(`${JSON.stringify(object)}\n`));
  }

  /** @param {number} status @param {Record<string, string>} [headers] */
  refuse(status, headers = {}) {
    this.#answer(new Response('{"error":{"code":"rate_limited","message":"later"}}', { status, headers }));
  }

  unreachable() {
    this.#answer(Promise.reject(new TypeError('network')));
  }
}

/** @param {import('node:test').TestContext} t @param {ConnectOptions} [options] */
function roads(t, options) {
  FakeStream.all = [];
  /** @type {string[]} */
  const asked = [];
  mock.method(globalThis, 'fetch', async (/** @type {string} */ url, /** @type {RequestInit} */ { body } = {}) => {
    const { pathname } = new URL(url);
    asked.push(pathname);
    if (pathname === '/ws/stream') return new FakeStream().response;
    FakeStream.all.at(-1)?.commands.push(...(body ? JSON.parse(String(body)).flat() : []));
    return new Response(null, { status: 204 });
  });
  // What the test before ended on.
  new Memory(new URL('ws://here.example/ws')).forget();
  const scene = world(t, { transports: ['websocket', 'stream'], ...options });
  const stream = () => {
    const last = FakeStream.all.at(-1);
    assert.ok(last);
    return last;
  };
  /** The upgrade is refused, the stream opens. */
  const down = async () => {
    await settle();
    scene.socket().drop();
    await settle();
    await stream().greet();
    assert.equal(scene.client.transport, 'stream');
  };
  return { ...scene, stream, down, asked };
}

test('an upgrade that nobody answers is no reason to stop climbing', async (t) => {
  const { client, count, socket, down } = roads(t);
  await down();
  // After 30 s the first; it is given 15 s, and then the pause is twice as long.
  for (const [before, pauseMs] of /** @type {const} */ ([[1, 30_000], [2, 60_000], [3, 120_000]])) {
    await pass(pauseMs - 1);
    assert.equal(count(), before);
    await pass(1);
    assert.equal(count(), before + 1, `tried after ${pauseMs} ms`);
    await pass(CONNECT_DEADLINE_MS + PROVE_MS);
    assert.equal(socket().closedWith, 1000, 'given up');
  }
  await pass(240_000);
  await greet(socket(), { session: 's2' });
  await pass(PROVE_MS);
  assert.equal(client.transport, 'websocket');
});

/** @type {[string, (client: Client) => Promise<unknown>, object][]} */
const ONCE = [
  ['a call', (client) => client.call('slow', undefined, { timeout: 60_000 }), { data: 7 }],
  ['a refresh', (client) => client.refresh('token'), {}],
  ['a publication without retry', (client) => client.publish('chat:lobby', 'hello', { retry: false }), {}],
];

for (const [what, ask, ok] of ONCE) {
  test(`on its way, ${what} is not cut off by a better transport`, async (t) => {
    const { client, socket, stream, down } = roads(t, { timeout: 60_000 });
    await down();
    await pass(30_000);
    const answer = ask(client);
    await greet(socket(), { session: 's2' });
    await pass(PROVE_MS);
    await pass(5_000);
    await pass(10_000);
    assert.equal(client.transport, 'stream', 'it waits');
    stream().say({ id: stream().commands[0]?.id, ok });
    await answer;
    await settle();
    assert.equal(client.transport, 'websocket');
    assert.equal(socket().closedWith, undefined);
    assert.deepEqual(socket().take(), [], 'it is not asked twice');
  });
}

test('what is asked again does not keep a better transport waiting for longer than 5 s', async (t) => {
  const { client, socket, stream, down } = roads(t, { timeout: 60_000 });
  await down();
  await pass(30_000);
  const call = client.call('slow');
  const history = client.history('chat:lobby');
  const published = client.publish('chat:lobby', 'hello');
  await greet(socket(), { session: 's2' });
  await pass(PROVE_MS);
  stream().say({ id: stream().commands[0]?.id, ok: { data: 7 } });
  assert.equal(await call, 7);
  await pass(4_999);
  assert.equal(client.transport, 'stream');
  await pass(1);
  assert.equal(client.transport, 'websocket');
  const [first, second, ...more] = socket().take();
  assert.deepEqual([first?.history, second?.publish, more.length], ['chat:lobby', 'chat:lobby', 0]);
  socket().say({ id: first?.id, ok: { epoch: 'e', offset: 0, items: [], more: false } }, { id: second?.id, ok: { epoch: 'e', offset: 1 } });
  assert.equal((await history).more, false);
  assert.deepEqual(await published, { epoch: 'e', offset: 1 });
});

for (const [what, happens] of /** @type {[string, (stream: FakeStream) => void][]} */ ([
  ['that nobody answers', (stream) => stream.unreachable()],
  ['that is refused', (stream) => stream.refuse(429, { 'retry-after': '60' })],
])) {
  test(`a stream ${what} does not end the WebSocket that is still opening`, async (t) => {
    const { client, count, socket, stream } = roads(t);
    await pass(2_500);
    happens(stream());
    await pass(1_500);
    assert.equal(socket().closedWith, undefined);
    await greet(socket());
    assert.equal(client.state.name, 'open');
    assert.equal(client.transport, 'websocket');
    assert.deepEqual([count(), FakeStream.all.length], [1, 1], 'in one attempt');
  });
}

for (const [how, ends] of /** @type {[string, (socket: FakeSocket) => unknown][]} */ ([
  ['is refused as well', (socket) => socket.drop()],
  ['never opens', () => pass(3_500)],
])) {
  test(`a refused stream ends the search, and its word is kept when the WebSocket ${how}`, async (t) => {
    const { client, states, socket, stream, asked } = roads(t, { transports: ['websocket', 'stream', 'poll'] });
    await pass(2_500);
    stream().refuse(429, { 'retry-after': '60' });
    await pass(4_000);
    assert.deepEqual(states, ['connecting'], 'the WebSocket may open yet');
    await ends(socket());
    await settle();
    assert.ok(client.state.name === 'waiting' && client.state.close.reason.includes('429'), JSON.stringify(client.state));
    assert.ok(pause(client) > 50_000, 'as long as it was asked to');
    assert.deepEqual(asked, ['/ws/stream']);
  });
}

test('a network that changes while a better transport waits for its moment does not dial another beside it', async (t) => {
  const connection = new EventTarget();
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { onLine: true, connection }, configurable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, 'navigator', before) : Reflect.deleteProperty(globalThis, 'navigator')));
  const { client, count, socket, stream, down } = roads(t, { timeout: 60_000 });
  await down();
  await pass(30_000);
  const call = client.call('slow');
  await greet(socket(), { session: 's2' });
  await pass(PROVE_MS);
  const dialled = count();
  connection.dispatchEvent(new Event('change'));
  await settle();
  assert.ok(stream().commands[1]?.ping);
  stream().say({ id: stream().commands[1]?.id, ok: {} });
  await pass(20_000);
  assert.equal(count(), dialled, 'the one that waits would never be closed');
  stream().say({ id: stream().commands[0]?.id, ok: { data: 7 } });
  assert.equal(await call, 7);
  await settle();
  assert.equal(client.transport, 'websocket');
});

test('what came together with the last answer is heard before the better transport takes over', async (t) => {
  const { client, socket, stream, down } = roads(t, { timeout: 60_000 });
  await down();
  const room = client.subscribe('chat');
  /** @type {unknown[]} */
  const heard = [];
  room.onmessage = ({ data }) => heard.push(data);
  await settle();
  stream().say({ id: stream().commands.shift()?.id, ok: {} });
  await pass(30_000);
  const call = client.call('slow');
  await greet(socket(), { session: 's2' });
  await pass(PROVE_MS);
  // No history brings it back.
  stream().say([{ id: stream().commands[0]?.id, ok: { data: 7 } }, { on: 'chat', data: 'with it' }]);
  assert.equal(await call, 7);
  await settle();
  assert.equal(client.transport, 'websocket');
  assert.deepEqual(heard, ['with it']);
});

test('a token that is refreshed while a better transport proves itself is not taken back by it', async (t) => {
  const { client, socket, stream, down } = roads(t, { token: 'first' });
  await down();
  const room = client.subscribe('chat');
  await settle();
  stream().say({ id: stream().commands.shift()?.id, ok: { epoch: 'e', offset: 0 } });
  await pass(30_000);
  await greet(socket(), { session: 's2' });
  const refreshed = client.refresh('second');
  await settle();
  stream().say({ id: stream().commands[0]?.id, ok: {} });
  await refreshed;
  await pass(PROVE_MS);
  assert.equal(client.transport, 'websocket');
  const commands = socket().take();
  assert.deepEqual(commands.map(({ refresh, subscribe }) => refresh?.token ?? subscribe), ['second', 'chat'], 'before anything is done with it');
  room.unsubscribe();
});

for (const cutMs of [0, 2_900, 3_100, 4_900]) {
  test(`a wall that cuts after ${cutMs} ms is one: four times, then the stream is used, and stays in use`, async (t) => {
    const { client, count, socket, stream } = roads(t);
    for (let round = 0; round < 4; round++) {
      assert.equal(FakeStream.all.length, 0, `round ${round}`);
      await greet(socket());
      await pass(cutMs);
      socket().drop();
      await pass(pause(client));
    }
    await stream().greet();
    assert.equal(client.transport, 'stream');
    assert.equal(count(), 4);
    await pass(30_000);
    await greet(socket(), { session: 's2' });
    await pass(cutMs);
    socket().drop();
    await pass(PROVE_MS);
    assert.equal(client.transport, 'stream', 'what would be cut is not climbed to');
  });
}
