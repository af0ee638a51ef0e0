/** Each publication takes effect once, in the order of the calls, or its promise says that it did not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as limits from '../sockeye.js';
import { agree, greet, pass, refuse, settle, world } from './world.js';

const ROOM = 'chat:lobby';
const at = (/** @type {number} */ offset) => ({ epoch: 'e', offset });

test('published before it is open, answered with a position', async (t) => {
  const { client, socket } = world(t);
  const answer = client.publish(ROOM, { text: 'hi' }, { event: 'said', echo: false, conflate: 'c' });
  await greet(socket());
  const { key, ...command } = await agree(socket(), at(1));
  assert.deepEqual(command, { publish: ROOM, data: { text: 'hi' }, event: 'said', echo: false, conflate: 'c' });
  assert.match(key, /^[0-9a-f]{32}-1$/);
  assert.deepEqual(await answer, at(1));
  const second = client.publish(ROOM, null, { key: 'mine' });
  assert.deepEqual(await agree(socket(), {}), { publish: ROOM, data: null, key: 'mine' });
  assert.equal(await second, undefined);
});

test('what is published is what it was when it was published', async (t) => {
  const { client, socket } = world(t);
  const data = { text: 'before' };
  client.publish(ROOM, data).catch(() => {});
  data.text = 'after';
  await greet(socket());
  assert.deepEqual((await agree(socket(), at(1))).data, { text: 'before' });
});

test('bytes, of every kind', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const bytes = new Uint8Array([9, 0, 1, 255, 9]);
  for (const data of [bytes.subarray(1, 4), bytes.slice(1, 4).buffer, new DataView(bytes.buffer, 1, 3)]) {
    const answer = client.publish(ROOM, data);
    const { key: _, ...command } = await agree(socket(), at(1));
    assert.deepEqual(command, { publish: ROOM, base64: 'AAH/' });
    await answer;
  }
  const answer = client.publish(ROOM, new Uint8Array(40_000).fill(7));
  assert.equal(Buffer.from((await agree(socket(), at(1))).base64, 'base64').length, 40_000);
  await answer;
});

test('what cannot be sent is refused', async (t) => {
  const { client, socket } = world(t);
  const cycle = {};
  Object.assign(cycle, { cycle });
  for (const data of [cycle, 1n, () => {}, Symbol('x')]) await assert.rejects(client.publish(ROOM, data), TypeError);
  for (const options of [{}, { volatile: true }]) await assert.rejects(client.publish(ROOM, 'é'.repeat(33_000), options), { code: 'too_big' });
  await greet(socket());
  assert.deepEqual(socket().take(), []);
});

test('one at a time in a channel, and channels do not wait for each other', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const answers = [client.publish('a', 1), client.publish('a', 2), client.publish('b', 3)];
  await settle();
  const first = socket().take();
  assert.deepEqual(first.map(({ data }) => data), [1, 3]);
  assert.equal(socket().written.length, 2, 'both in one message');
  socket().say({ id: first[0]?.id, ok: at(1) });
  await settle();
  const second = socket().take();
  assert.deepEqual(second.map(({ data }) => data), [2]);
  socket().say({ id: second[0]?.id, ok: at(2) }, { id: first[1]?.id, ok: at(9) });
  assert.deepEqual(await Promise.all(answers), [at(1), at(2), at(9)]);
});

test('lost on the way: the same key again, before what was published later', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const answers = [client.publish(ROOM, 1), client.publish(ROOM, 2)];
  await settle();
  const [first] = socket().take();
  socket().drop();
  answers.push(client.publish(ROOM, 3));
  await pass(500);
  await greet(socket());
  for (const data of [1, 2, 3]) {
    const command = await agree(socket(), at(data));
    assert.equal(command.data, data);
    if (data === 1) assert.equal(command.key, first?.key);
  }
  assert.deepEqual(await Promise.all(answers), [at(1), at(2), at(3)]);
});

test('refused for now: again, under the same key, and the next one waits behind it', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const answers = [client.publish(ROOM, 1), client.publish(ROOM, 2)];
  await settle();
  const [{ id, key } = {}] = socket().take();
  socket().say({ id, error: { code: 'rate_limited', message: '', retry_after_ms: 3000 } });
  await pass(2999);
  assert.deepEqual(socket().take(), []);
  await pass(1);
  assert.equal((await agree(socket(), at(1))).key, key);
  assert.equal((await agree(socket(), at(2))).data, 2);
  await Promise.all(answers);
});

test('refused for good: the promise says so, and the next one goes', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const refused = assert.rejects(client.publish(ROOM, 1), { name: 'SockeyeError', code: 'forbidden', message: 'forbidden: no' });
  const answer = client.publish(ROOM, 2);
  await refuse(socket(), 'forbidden');
  await refused;
  assert.equal((await agree(socket(), at(1))).data, 2);
  await answer;
});

test('no reply on a connection that lives: again under the same key', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const answer = client.publish(ROOM, 1);
  await settle();
  const [first] = socket().take();
  await pass(limits.TIMEOUT_MS);
  await pass(500);
  assert.equal((await agree(socket(), at(1))).key, first?.key);
  assert.deepEqual(await answer, at(1));
});

test('never again when the server may have forgotten the key', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  let outcome = 'waits';
  client.publish(ROOM, 1).catch((error) => (outcome = error.code));
  const unsent = client.publish(ROOM, 2);
  await settle();
  socket().take();
  socket().drop();
  for (let passed = 0; passed < limits.RETRY_WINDOW_MS; passed += 1000) await pass(1000);
  assert.equal(outcome, 'timeout', 'told as soon as it is certain');
  socket().drop();
  await pass(20_000);
  await greet(socket());
  assert.equal((await agree(socket(), at(1))).data, 2, 'one that was never sent has all its time');
  await unsent;
});

test('kept offline up to a number and up to a size; then refused, which is no harm to the others', async (t) => {
  const { client, socket } = world(t, { maxQueued: 2, maxQueuedBytes: 1000 });
  const kept = [client.publish('a', 1), client.publish('b', 2)];
  await assert.rejects(client.publish('c', 3), { code: 'limit' });
  await greet(socket());
  for (const { id } of socket().take()) socket().say({ id, ok: at(1) });
  await settle();
  await Promise.all(kept);
  await assert.rejects(client.publish('a', 'x'.repeat(2000)), { code: 'limit' });
  const answer = client.publish('a', 'x'.repeat(500));
  await agree(socket(), at(1));
  await answer;
  assert.equal(limits.QUEUE_LIMIT, 1000);
});

test('volatile: without a key, without an id, at most once, and not at all without a connection', async (t) => {
  const { client, socket, errors } = world(t);
  assert.equal(await client.publish(ROOM, 1, { volatile: true }), undefined);
  await greet(socket());
  await client.publish(ROOM, 2, { volatile: true });
  await settle();
  assert.deepEqual(socket().take(), [{ publish: ROOM, data: 2, volatile: true }]);
  socket().say({ error: { code: 'forbidden', message: 'no' } });
  assert.deepEqual(errors, ['forbidden']);
  socket().bufferedAmount = 1e6;
  await client.publish(ROOM, 3, { volatile: true });
  socket().bufferedAmount = 0;
  socket().drop();
  await pass(500);
  await greet(socket());
  assert.deepEqual(socket().take(), []);
});

test('without retry: no key, one try, and the connection is its fate', async (t) => {
  const { client, socket } = world(t, { retry: false });
  await greet(socket());
  const lost = assert.rejects(client.publish(ROOM, 1), { code: 'disconnected', close: { code: 1012, reason: 'restart' } });
  await settle();
  assert.deepEqual(socket().take().map(({ id: _, ...command }) => command), [{ publish: ROOM, data: 1 }]);
  socket().drop(1012, 'restart');
  await lost;
  const late = assert.rejects(client.publish(ROOM, 2), { code: 'timeout' });
  for (let passed = 0; passed < limits.TIMEOUT_MS; passed += 500) await pass(500);
  await late;
  const again = client.publish(ROOM, 3, { retry: true });
  socket().drop();
  await pass(20_000);
  await greet(socket());
  assert.equal((await agree(socket(), at(1))).data, 3);
  await again;
});

test('without an order: at once, and after a reconnect as they were called', async (t) => {
  const { client, socket } = world(t, { ordered: false });
  await greet(socket());
  const answers = [1, 2, 3].map((data) => client.publish(ROOM, data));
  await settle();
  const first = socket().take();
  assert.deepEqual(first.map(({ data }) => data), [1, 2, 3]);
  socket().say({ id: first[1]?.id, ok: at(2) });
  socket().drop();
  await pass(500);
  await greet(socket());
  const second = socket().take();
  assert.deepEqual(second.map(({ data }) => data), [1, 3]);
  for (const { id, data } of second) socket().say({ id, ok: at(data) });
  assert.deepEqual(await Promise.all(answers), [at(1), at(2), at(3)]);
});

test('one that the server cannot take does not end every connection', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const poison = assert.rejects(client.publish(ROOM, 'x'.repeat(9000)), { code: 'too_big' });
  const answer = client.publish(ROOM, 2);
  for (const wait of [500, 1000]) {
    await settle();
    assert.equal(socket().take().length, 1);
    socket().drop(1009);
    await pass(wait);
    await greet(socket());
  }
  await poison;
  assert.equal((await agree(socket(), at(1))).data, 2);
  await answer;
});
