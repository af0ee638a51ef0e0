/** Questions and answers; and what a server says that makes no sense. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as limits from '../sockeye.js';
import { agree, greet, pass, refuse, settle, world } from './world.js';

const ROOM = 'chat:lobby';

test('presence, history and call', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const room = client.subscribe(ROOM);
  await agree(socket(), { epoch: 'e', offset: 3 });
  const presence = room.presence({ limit: 2 });
  const asked = await agree(socket(), { count: 9, members: [{ session: 's1', user: 'ann', as: 1 }, { user: 'nobody' }, null] });
  assert.deepEqual(asked, { presence: ROOM, limit: 2 });
  assert.deepEqual(await presence, { count: 9, members: [{ session: 's1', user: 'ann', as: 1 }] });
  const since = { epoch: 'e', offset: 3 };
  const history = room.history({ since, limit: 2, reverse: true });
  assert.deepEqual(await agree(socket(), { ...since, items: [{ offset: 2, data: 'b' }, 7, { offset: 1, base64: 'AA==' }], more: true }), { history: ROOM, since, limit: 2, reverse: true });
  assert.deepEqual(await history, {
    position: since,
    items: [{ type: 'message', channel: ROOM, data: 'b', epoch: 'e', offset: 2 }, { type: 'message', channel: ROOM, data: new Uint8Array([0]), epoch: 'e', offset: 1 }],
    more: true,
  });
  const call = client.call('add', [1, 2]);
  assert.deepEqual(await agree(socket(), { data: 3 }), { call: 'add', data: [1, 2] });
  assert.equal(await call, 3);
});

test('an error has a code and says when to try again', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const answer = assert.rejects(client.call('x'), (error) => {
    assert.ok(error instanceof limits.SockeyeError && error instanceof Error);
    assert.deepEqual([error.code, error.retryAfter, error.message], ['rate_limited', 500, 'rate_limited: no']);
    return true;
  });
  await refuse(socket(), 'rate_limited', { retry_after_ms: 500 });
  await answer;
});

test('without a reply a command ends, and the late reply is nothing', async (t) => {
  const { client, socket, errors } = world(t);
  await greet(socket());
  const slow = assert.rejects(client.call('x'), { code: 'timeout' });
  const slower = client.call('y', 1, { timeout: 60_000 });
  await settle();
  const [x, y] = socket().take();
  await pass(limits.TIMEOUT_MS);
  await slow;
  socket().say({ id: x?.id, ok: { data: 1 } }, { id: y?.id, ok: { data: 2 } });
  assert.equal(await slower, 2);
  assert.deepEqual(errors, []);
});

test('across a reconnect questions are asked again, calls are not', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  const call = assert.rejects(client.call('pay'), { code: 'disconnected' });
  const history = client.history(ROOM);
  await settle();
  socket().take();
  socket().drop();
  await call;
  const waiting = client.call('later');
  await pass(500);
  await greet(socket());
  const [first, second, ...more] = socket().take();
  assert.deepEqual([first?.history, second?.call, more.length], [ROOM, 'later', 0]);
  socket().say({ id: first?.id, ok: { epoch: 'e', offset: 0, items: [], more: false } }, { id: second?.id, ok: {} });
  assert.equal((await history).more, false);
  assert.equal(await waiting, undefined);
});

test('no more commands wait than a limit', async (t) => {
  const { client } = world(t);
  const answers = Array.from({ length: limits.COMMANDS_LIMIT }, () => assert.rejects(client.call('x'), { code: 'closed' }));
  await assert.rejects(client.call('x'), { code: 'limit' });
  client.close();
  await Promise.all(answers);
});

test('a reply that is neither is an error', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  for (const reply of [{}, { ok: 1 }, { error: 'no' }, { ok: [] }]) {
    const answer = assert.rejects(client.call('x'), { code: 'protocol' });
    await settle();
    socket().say({ id: socket().take()[0]?.id, ...reply });
    await answer;
  }
});

test('what makes no sense is reported and passed over', async (t) => {
  const nonsense = [
    '', 'null', '7', '"x"', 'true', '{', '[7]', '[[{"on":"chat:lobby"}]]', '{}', '{"id":"1","ok":{}}', '{"id":1.5}', '{"on":7}', '{"bye":1}', '{"__proto__":{"on":"chat:lobby"}}',
    new ArrayBuffer(4), new Uint8Array(4), undefined, null, 7, {}, `{"on":"elsewhere","data":"${'x'.repeat(limits.RECEIVE_LIMIT)}"}`,
  ];
  const { client, socket, errors } = world(t);
  await greet(socket());
  for (const data of nonsense) {
    socket().blurt(data);
    assert.deepEqual(errors.splice(0), ['protocol'], String(data).slice(0, 40));
  }
  assert.equal(client.state.name, 'open');
});

test('nonsense in a channel is reported there and moves nothing', async (t) => {
  const { client, socket, errors } = world(t);
  const room = client.subscribe(ROOM, { members: true });
  /** @type {string[]} */
  const log = [];
  room.onmessage = ({ data }) => log.push(`${data}`);
  room.onerror = ({ error }) => log.push(error.code);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1, catch_up: -3, members: [7, { session: 's1' }] });
  for (const object of [{}, { offset: '2', data: 1 }, { offset: -1, data: 1 }, { offset: 1.5, data: 1 }, { offset: 1e300, data: 1 }, { offset: null, data: 1 }, { join: {} }, { leave: { session: 7 } }, { event: 'x' }, { base64: '!' }, { base64: 7 }]) {
    socket().say({ on: ROOM, ...object });
    assert.deepEqual(log.splice(0), ['protocol'], JSON.stringify(object));
  }
  assert.deepEqual(room.position, { epoch: 'e', offset: 1 });
  assert.deepEqual([...room.members.keys()], ['s1']);
  // Bytes that are none have a place all the same: it is not a hole.
  socket().say({ on: ROOM, offset: 2, base64: '!' }, { on: ROOM, offset: 3, data: 'after' }, { on: 'elsewhere', offset: 9, data: 1 });
  assert.deepEqual(log, ['protocol', 'after']);
  assert.deepEqual(errors, []);
});

test('depth, and names that are special, are harmless', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe('__proto__');
  /** @type {any[]} */
  const log = [];
  room.onmessage = ({ data }) => log.push(data);
  await greet(socket());
  await agree(socket(), {});
  const depth = 200_000;
  socket().blurt(`{"on":"__proto__","data":${'['.repeat(depth)}${']'.repeat(depth)}}`);
  socket().blurt('{"on":"__proto__","data":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}');
  socket().blurt('{"on":"__proto__","join":{"session":"__proto__","as":{"__proto__":{"polluted":1}}}}');
  assert.equal(Reflect.get({}, 'polluted'), undefined);
  assert.ok(log.length >= 1);
  assert.equal(client.state.name, 'open');
});

test('no more members than a limit', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM, { members: true });
  await greet(socket());
  await agree(socket(), { members: Array.from({ length: limits.MEMBERS_LIMIT + 5 }, (_, index) => ({ session: `s${index}` })) });
  assert.equal(room.members.size, limits.MEMBERS_LIMIT);
  socket().say({ on: ROOM, join: { session: 'one more' } }, { on: ROOM, join: { session: 's1', user: 'known' } });
  assert.equal(room.members.size, limits.MEMBERS_LIMIT);
  assert.equal(room.members.get('s1')?.user, 'known');
});

test('a timeout that is longer than a timer can wait does not run out at once', async (t) => {
  for (const timeout of [Number.POSITIVE_INFINITY, 2 ** 31]) {
    await t.test(`${timeout}`, async (t) => {
      const { client, socket } = world(t);
      await greet(socket());
      const call = client.call('slow', undefined, { timeout });
      await pass(60_000);
      assert.deepEqual(await agree(socket(), { data: 1 }), { call: 'slow' });
      assert.equal(await call, 1);
    });
  }
});
