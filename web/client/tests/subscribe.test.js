/** Each publication once, in its place, or a word about what is missing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STABLE_AFTER_MS } from '../sockeye.js';
import { agree, greet, pass, pause, refuse, settle, world } from './world.js';

const ROOM = 'chat:lobby';
const at = (/** @type {number} */ offset, epoch = 'e') => ({ epoch, offset });
const publication = (/** @type {number} */ offset) => ({ on: ROOM, offset, data: offset });

/**
 * Everything that a subscription tells, in short.
 * @param {import('../sockeye.js').Subscription} room
 */
function heard(room) {
  /** @type {unknown[]} */
  const log = [];
  room.onmessage = ({ data }) => log.push(data);
  room.onlost = ({ from, to, reason }) => log.push(`lost ${from?.epoch}${from?.offset}-${to?.epoch}${to?.offset} ${reason}`);
  room.onend = ({ error }) => log.push(`end ${error?.code}`);
  room.onerror = ({ error }) => log.push(`error ${error.code}`);
  return log;
}

test('subscribes once greeted, and stands where the catching up begins', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM, { last: 2 });
  const log = heard(room);
  await greet(socket());
  const command = await agree(socket(), { epoch: 'e', offset: 45, catch_up: 2 }, publication(44), publication(45), publication(46));
  assert.deepEqual(command, { subscribe: ROOM, last: 2 });
  assert.deepEqual(log, [44, 45, 46]);
  assert.deepEqual(await room.ready, at(43));
  assert.deepEqual(room.position, at(46));
});

test('after a reconnect it goes on from its position, and what comes twice is heard once', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM, { last: 5 });
  const log = heard(room);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 3, catch_up: 0 }, publication(4), publication(5));
  socket().drop(1012);
  assert.equal(room.state, 'pending');
  await pass(500);
  await greet(socket());
  const command = await agree(socket(), { epoch: 'e', offset: 7, catch_up: 2, recovered: true }, publication(5), publication(6), publication(6), publication(7));
  assert.deepEqual(command, { subscribe: ROOM, since: at(5) });
  assert.deepEqual(log, [4, 5, 6, 7]);
});

test('its own publication without an echo moves the position and is not heard', async (t) => {
  const { client, socket, errors } = world(t);
  const room = client.subscribe(ROOM, { echo: false });
  const log = heard(room);
  await greet(socket());
  assert.deepEqual(await agree(socket(), { epoch: 'e', offset: 1 }), { subscribe: ROOM, echo: false });
  socket().say(publication(2), { on: ROOM, offset: 3 }, publication(4));
  assert.deepEqual(log, [2, 4]);
  assert.deepEqual(room.position, at(4));
  assert.deepEqual(errors, []);
});

test('its own is known as such, also after a reconnect, and left out where no echo is wanted', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  /** @type {unknown[]} */
  const own = [];
  room.onmessage = (message) => own.push(message.own);
  const quiet = client.subscribe('quiet', { echo: false });
  const log = heard(quiet);
  await greet(socket(), { session: 's1' });
  socket().drop();
  await pass(500);
  await greet(socket(), { session: 's2' });
  const [first, second] = socket().take();
  const from = (/** @type {string} */ on) => ['s1', 's2', 's3'].map((session, index) => ({ on, offset: 1 + index, data: session, from: { session } }));
  socket().say({ id: first?.id, ok: { epoch: 'e', offset: 0 } }, { id: second?.id, ok: { epoch: 'e', offset: 0 } }, ...from(ROOM), ...from('quiet'));
  assert.deepEqual(own, [true, true, undefined]);
  assert.deepEqual(log, ['s3']);
  assert.deepEqual(quiet.position, at(3));
});

test('what was missed for good is said: the window, and another epoch', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 5 });
  socket().drop();
  await pass(500);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 90, recovered: false }, publication(91));
  assert.deepEqual(log, ['lost e5-e90 history', 91]);
  socket().drop();
  await pass(1000);
  await greet(socket());
  await agree(socket(), { epoch: 'f', offset: 2, recovered: false }, publication(3));
  assert.deepEqual(log.slice(2), ['lost e91-f2 epoch', 3]);
  assert.deepEqual(room.position, at(3, 'f'));
});

test('a claim to have recovered what cannot be is not believed', async (t) => {
  for (const [ok, notice] of /** @type {const} */ ([
    [{ epoch: 'e', offset: 9, recovered: true }, 'lost e5-e9 hole'],
    [{ epoch: 'e', offset: 3, recovered: true }, 'lost e5-e3 history'],
    [{ epoch: 'f', offset: 5, recovered: true }, 'lost e5-f5 epoch'],
    [{}, 'lost e5-undefinedundefined history'],
  ])) {
    await t.test(notice, async (t) => {
      const { client, socket } = world(t);
      const room = client.subscribe(ROOM, { since: at(5) });
      const log = heard(room);
      await greet(socket());
      await agree(socket(), ok);
      assert.deepEqual(log, [notice]);
    });
  }
});

test('the position of another day is where it begins', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM, { since: at(40) });
  const log = heard(room);
  assert.deepEqual(room.position, at(40));
  await greet(socket());
  const command = await agree(socket(), { epoch: 'e', offset: 42, catch_up: 2, recovered: true }, publication(41), publication(42));
  assert.deepEqual(command, { subscribe: ROOM, since: at(40) });
  assert.deepEqual(log, [41, 42]);
});

test('a subscription that was never answered asks as it did at first', async (t) => {
  const { client, socket } = world(t);
  client.subscribe(ROOM, { last: 7 });
  await greet(socket());
  socket().take();
  socket().drop();
  await pass(500);
  await greet(socket());
  assert.deepEqual(await agree(socket(), { epoch: 'e', offset: 1 }), { subscribe: ROOM, last: 7 });
});

test('a hole is filled from the position, and nothing is heard out of its turn', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 }, publication(2), publication(4), publication(5));
  assert.deepEqual(log, [2]);
  const [unsubscribe, subscribe] = socket().take();
  assert.equal(unsubscribe?.unsubscribe, ROOM);
  assert.deepEqual(subscribe?.since, at(2));
  socket().say(publication(6), { id: unsubscribe?.id, ok: {} }, { id: subscribe?.id, ok: { epoch: 'e', offset: 6, catch_up: 4, recovered: true } }, ...[3, 4, 5, 6, 7].map(publication));
  assert.deepEqual(log, [2, 3, 4, 5, 6, 7]);
});

test('a hole that the server cannot fill is said, once, and not asked for again', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 }, publication(4));
  const [, subscribe] = socket().take();
  socket().say({ id: subscribe?.id, ok: { epoch: 'e', offset: 4, catch_up: 3, recovered: true } }, publication(4), publication(5));
  await settle();
  assert.deepEqual(socket().take(), []);
  assert.deepEqual(log, ['lost e1-e3 hole', 4, 5]);
});

test('the server says that continuity was lost', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 });
  socket().say({ on: ROOM, lost: { epoch: 'k', offset: 60, reason: 'slow' } }, publication(60), publication(61));
  assert.deepEqual(log, ['lost e1-k60 slow', 61]);
  assert.deepEqual(room.position, at(61, 'k'));
});

test('a channel without history: everything is passed on, and after a reconnect nobody claims completeness', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await agree(socket(), {}, { on: ROOM, data: 'a' }, { on: ROOM, data: 'a' });
  assert.equal(room.position, undefined);
  assert.deepEqual(log, ['a', 'a']);
  socket().drop();
  await pass(500);
  await greet(socket());
  assert.deepEqual(await agree(socket(), {}), { subscribe: ROOM });
  assert.deepEqual(log.slice(2), ['lost undefinedundefined-undefinedundefined no_history']);
});

test('volatile publications have no place and move nothing', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 }, { on: ROOM, data: 'typing' }, publication(2));
  assert.deepEqual(log, ['typing', 2]);
});

test('a message tells who, when, what kind, and where; bytes are bytes', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  /** @type {unknown[]} */
  const log = [];
  room.addEventListener('message', (event) => log.push(event));
  await greet(socket());
  const from = { session: 's2', user: 'ann' };
  await agree(socket(), { epoch: 'e', offset: 1 }, { on: ROOM, offset: 2, data: null, event: 'typing', from, at: 1732147200000, surprise: 1 }, { on: ROOM, offset: 3, base64: 'AAH/' });
  assert.deepEqual(log, [
    { type: 'message', channel: ROOM, data: null, epoch: 'e', offset: 2, event: 'typing', from: { ...from, as: undefined }, at: 1732147200000 },
    { type: 'message', channel: ROOM, data: new Uint8Array([0, 1, 255]), epoch: 'e', offset: 3 },
  ]);
});

test('members come, go, and are taken anew after a reconnect', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM, { as: { name: 'Ann' } });
  const sizes = /** @type {number[]} */ ([]);
  const moves = /** @type {string[]} */ ([]);
  room.onmembers = ({ members }) => sizes.push(members.size);
  room.onjoin = ({ member }) => moves.push(`+${member.session}`);
  room.onleave = ({ member }) => moves.push(`-${member.session}`);
  await greet(socket());
  const me = { session: 's1', as: { name: 'Ann' } };
  assert.deepEqual(await agree(socket(), { epoch: 'e', offset: 0, members: [me] }), { subscribe: ROOM, as: { name: 'Ann' } });
  socket().say({ on: ROOM, join: { session: 's2', user: 'bob' } }, { on: ROOM, join: { session: 's3' } }, { on: ROOM, leave: { session: 's2' } });
  assert.deepEqual([...room.members.keys()], ['s1', 's3']);
  assert.deepEqual(room.members.get('s1'), { ...me, user: undefined });
  socket().drop();
  assert.equal(room.members.size, 2, 'as it last was');
  await pass(500);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 0, recovered: true, members: [] });
  assert.deepEqual([...room.members.keys()], []);
  assert.deepEqual(sizes, [1, 2, 3, 2, 0]);
  assert.deepEqual(moves, ['+s2', '+s3', '-s2']);
});

test('refused for good: it ends, and says so in three ways', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await refuse(socket(), 'forbidden');
  assert.deepEqual(log, ['end forbidden']);
  await assert.rejects(room.ready, { name: 'SockeyeError', code: 'forbidden' });
  await assert.rejects(room[Symbol.asyncIterator]().next(), { code: 'forbidden' });
  assert.equal(room.state, 'ended');
  assert.equal(client.subscription(ROOM), undefined);
  client.subscribe(ROOM);
});

test('refused for now: it asks again, never sooner than it was told', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await refuse(socket(), 'rate_limited', { retry_after_ms: 3000 });
  await pass(2999);
  assert.deepEqual(socket().take(), []);
  await pass(1);
  await refuse(socket(), 'unavailable');
  await pass(1000);
  await agree(socket(), { epoch: 'e', offset: 1 });
  assert.deepEqual(log, ['error rate_limited', 'error unavailable']);
  assert.equal(room.state, 'live');
});

test('a subscription that held for a while is asked for soon again; one that did not, is not', async (t) => {
  for (const [held, expected] of /** @type {const} */ ([[STABLE_AFTER_MS, 500], [STABLE_AFTER_MS - 1, 2000]])) {
    await t.test(`${held}`, async (t) => {
      const { client, socket } = world(t);
      client.subscribe(ROOM);
      await greet(socket());
      for (const wait of [500, 1000]) {
        await refuse(socket(), 'unavailable');
        await pass(wait);
      }
      await agree(socket(), { epoch: 'e', offset: 1 });
      await pass(held);
      socket().say({ on: ROOM, end: { code: 'unavailable', retry: true } });
      await pass(expected - 1);
      assert.deepEqual(socket().take(), []);
      await pass(1);
      assert.equal(socket().take().length, 1);
    });
  }
});

test('no answer, or already subscribed: it leaves and asks again', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  await greet(socket());
  const [first] = socket().take();
  await pass(10_000);
  await pass(500);
  const [leave, again] = socket().take();
  assert.equal(leave?.unsubscribe, ROOM);
  socket().say({ id: first?.id, ok: { epoch: 'e', offset: 9 } });
  assert.equal(room.state, 'pending', 'the answer to a question given up is none');
  socket().say({ id: leave?.id, error: { code: 'not_subscribed' } }, { id: again?.id, error: { code: 'already_subscribed' } });
  await pass(1000);
  const [, third] = socket().take();
  socket().say({ id: third?.id, ok: { epoch: 'e', offset: 9 } });
  assert.equal(room.state, 'live');
});

test('the server ends a subscription, for good or to be asked again', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 }, publication(2));
  socket().say({ on: ROOM, end: { code: 'unavailable', retry: true } }, publication(3));
  assert.equal(room.state, 'pending');
  await pass(500);
  assert.deepEqual((await agree(socket(), { epoch: 'e', offset: 3, catch_up: 1, recovered: true }, publication(3)))['since'], at(2));
  socket().say({ on: ROOM, end: { code: 'forbidden', retry: false } }, publication(4));
  await pass(60_000);
  assert.deepEqual(socket().take().filter((command) => !command.ping), []);
  assert.deepEqual(log, [2, 'error unavailable', 3, 'end forbidden']);
});

test('after unsubscribing nothing is heard, also when subscribed anew at once', async (t) => {
  const { client, socket } = world(t);
  const old = client.subscribe(ROOM);
  const oldLog = heard(old);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 });
  assert.throws(() => client.subscribe(ROOM), { code: 'already_subscribed' });
  old.unsubscribe();
  old.unsubscribe();
  const room = client.subscribe(ROOM);
  const log = heard(room);
  await settle();
  const [leave, ask, ...more] = socket().take();
  assert.deepEqual(more, []);
  socket().say(publication(2), { id: leave?.id, ok: {} }, { id: ask?.id, ok: { epoch: 'e', offset: 2 } }, publication(3));
  assert.deepEqual(oldLog, ['end undefined']);
  assert.deepEqual(log, [3]);
  assert.equal((await old[Symbol.asyncIterator]().next()).done, true);
});

test('a hundred channels are asked for in one message, more in several', async (t) => {
  const { client, socket } = world(t);
  for (let index = 0; index < 250; index++) client.subscribe(`c:${index}`);
  await greet(socket());
  const messages = socket().written.slice(1).map((message) => JSON.parse(message));
  assert.deepEqual(messages.map((message) => message.length), [100, 100, 50]);
  const asked = messages.flat().map((command) => command.subscribe);
  assert.deepEqual(asked, Array.from({ length: 250 }, (_, index) => `c:${index}`), 'in the order of the calls');
});

test('more channels than commands may wait are all asked for', async (t) => {
  const { client, socket } = world(t);
  const rooms = Array.from({ length: 1500 }, (_, index) => client.subscribe(`c:${index}`));
  await greet(socket());
  for (const { id } of socket().take()) socket().say({ id, ok: {} });
  assert.ok(rooms.every((room) => room.state === 'live'));
});

test('told that it was too fast, it asks for many channels no faster than the server takes commands', async (t) => {
  const { client, errors, socket } = world(t);
  const rooms = Array.from({ length: 1500 }, (_, index) => client.subscribe(`c:${index}`));
  await greet(socket());
  assert.equal(socket().take().length, 1500, 'all at once, where the server says nothing against it');
  socket().drop(4108);
  await pass(pause(client));
  await greet(socket());
  let tokens = 200;
  for (let second = 0; second < 20; second += 0.25) {
    for (const { id } of socket().take()) {
      assert.ok(--tokens >= 0, `refused after ${second} s`);
      socket().say({ id, ok: {} });
    }
    await pass(250);
    tokens = Math.min(200, tokens + 25);
  }
  assert.ok(rooms.every((room) => room.state === 'live'));
  assert.deepEqual(errors, []);
});

test('one that waits for its turn to be asked for and is left is not asked for', async (t) => {
  const { client, socket } = world(t);
  const rooms = Array.from({ length: 151 }, (_, index) => client.subscribe(`c:${index}`));
  await greet(socket());
  socket().drop(4108);
  await pass(pause(client));
  await greet(socket());
  assert.equal(socket().take().length, 150);
  rooms.at(-1)?.unsubscribe();
  await pass(10_000);
  assert.deepEqual(socket().take().filter(({ subscribe }) => subscribe), []);
});

test('what listeners throw keeps nobody from hearing', async (t) => {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM);
  /** @type {unknown[]} */
  const log = [];
  /** @type {unknown[]} */
  const thrown = [];
  // What is thrown there reaches nobody but the host: in a page `onerror`, in node the end of the process.
  const { queueMicrotask } = globalThis;
  t.mock.method(globalThis, 'queueMicrotask', (/** @type {() => void} */ task) => queueMicrotask(() => {
    try {
      task();
    } catch (error) {
      thrown.push(/** @type {Error} */ (error).message);
    }
  }));
  room.onmessage = () => {
    throw new Error('mine');
  };
  room.addEventListener('message', ({ data }) => log.push(data), { once: true });
  const removed = () => log.push('removed');
  room.addEventListener('message', removed);
  room.removeEventListener('message', removed);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 }, publication(2));
  assert.deepEqual(thrown, ['mine']);
  room.onmessage = null;
  socket().say(publication(3));
  assert.deepEqual(log, [2]);
});

test('wrong use is told at once', async (t) => {
  const { client } = world(t);
  assert.throws(() => client.subscribe(''), TypeError);
  assert.throws(() => client.subscribe(ROOM, { last: 1, since: at(1) }), TypeError);
  client.close();
  assert.throws(() => client.subscribe(ROOM), { code: 'closed' });
});
