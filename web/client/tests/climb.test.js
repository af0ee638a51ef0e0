/** Down to a stream and back up, in time that passes when the test says so; the server on both roads is the test. */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { FakeSocket, greet, pass, settle, world } from './world.js';

/** @typedef {import('../sockeye.js').ConnectOptions} ConnectOptions */

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
  mock.method(globalThis, 'fetch', async (/** @type {string} */ url, /** @type {RequestInit} */ { body } = {}) => {
    if (new URL(url).pathname.endsWith('/stream')) return new FakeStream().response;
    FakeStream.all.at(-1)?.commands.push(...(body ? JSON.parse(String(body)) : []));
    return new Response(null, { status: 204 });
  });
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
  return { ...scene, stream, down };
}

test('an upgrade that nobody answers is no reason to stop climbing', async (t) => {
  const { client, count, socket, down } = roads(t);
  await down();
  // After 30 s the first; it is given 13 s, and then the pause is twice as long.
  for (const [before, pauseMs] of /** @type {const} */ ([[1, 30_000], [2, 60_000], [3, 120_000]])) {
    await pass(pauseMs - 1);
    assert.equal(count(), before);
    await pass(1);
    assert.equal(count(), before + 1, `tried after ${pauseMs} ms`);
    await pass(13_000);
    assert.equal(socket().closedWith, 1000, 'given up');
  }
  await pass(240_000);
  await greet(socket(), { session: 's2' });
  await pass(3_000);
  assert.equal(client.transport, 'websocket');
});
