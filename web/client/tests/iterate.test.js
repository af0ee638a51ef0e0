/** `for await` over a subscription: in order, bounded, and honest about what it dropped. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agree, greet, settle, world } from './world.js';

const ROOM = 'chat:lobby';
const publication = (/** @type {number} */ offset) => ({ on: ROOM, offset, data: offset });

/**
 * @param {import('node:test').TestContext} t
 * @param {import('../sockeye.js').SubscribeOptions} [options]
 */
async function joined(t, options) {
  const { client, socket } = world(t);
  const room = client.subscribe(ROOM, options);
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 0 }, publication(1));
  return { client, room, socket };
}

/** @param {import('../sockeye.js').Message | import('../sockeye.js').Lost | undefined} item */
const short = (item) => (item?.type === 'lost' ? `lost ${item.from?.offset}-${item.to?.offset} ${item.reason}` : item?.data);

test('what came before the loop began is in it', async (t) => {
  const { room, socket } = await joined(t);
  await room.ready;
  socket().say(publication(2));
  const seen = [];
  for await (const item of room) {
    seen.push(short(item));
    if (item.type === 'message' && item.data === 2) socket().say(publication(3));
    if (seen.length === 3) room.unsubscribe();
  }
  assert.deepEqual(seen, [1, 2, 3]);
});

test('a slow consumer gets one notice in place of what was dropped, and can fetch it', async (t) => {
  const { room, socket } = await joined(t, { buffer: 3 });
  const items = room[Symbol.asyncIterator]();
  assert.equal(short((await items.next()).value), 1);
  socket().say(...[2, 3, 4, 5].map(publication));
  socket().say(publication(6));
  assert.equal(short((await items.next()).value), 'lost 1-5 slow');
  assert.equal(short((await items.next()).value), 6);
  socket().say(...Array.from({ length: 20 }, (_, index) => publication(7 + index)));
  const notice = (await items.next()).value;
  assert.match(short(notice), /^lost 6-\d+ slow$/);
  const rest = [];
  while (rest.at(-1) !== 26) rest.push(short((await items.next()).value));
  assert.equal(rest[0], (notice?.to?.offset ?? 0) + 1, 'goes on right behind the notice');
  const answer = room.history({ since: notice?.from });
  assert.deepEqual((await agree(socket(), { epoch: 'e', offset: 26, items: [], more: false })).since, { epoch: 'e', offset: 6 });
  await answer;
});

test('without a consumer no more than the buffer is kept', async (t) => {
  const { room, socket } = await joined(t, { buffer: 3 });
  for (let offset = 2; offset <= 5000; offset++) socket().say(publication(offset));
  const items = room[Symbol.asyncIterator]();
  assert.match(short((await items.next()).value), /^lost 0-\d+ slow$/);
  room.unsubscribe();
  let count = 0;
  while (!(await items.next()).done) count++;
  assert.ok(count <= 3, `${count} were kept`);
});

test('notices of the server are in the loop, in their place', async (t) => {
  const { room, socket } = await joined(t);
  socket().say({ on: ROOM, lost: { epoch: 'f', offset: 9, reason: 'store' } }, publication(10));
  const items = room[Symbol.asyncIterator]();
  assert.deepEqual([short((await items.next()).value), short((await items.next()).value), short((await items.next()).value)], [1, 'lost 1-9 store', 10]);
});

test('with a listener nothing is kept for a loop that may never come', async (t) => {
  const { room, socket } = await joined(t);
  room.onmessage = () => {};
  socket().say(publication(2));
  const items = room[Symbol.asyncIterator]();
  socket().say(publication(3));
  assert.equal(short((await items.next()).value), 3);
});

test('two loops hear the same; leaving one ends neither the other nor the subscription', async (t) => {
  const { room, socket } = await joined(t);
  const left = room[Symbol.asyncIterator]();
  const right = room[Symbol.asyncIterator]();
  assert.equal(short((await left.next()).value), 1);
  const waiting = left.next();
  await left.return?.();
  assert.equal((await waiting).done, true);
  socket().say(publication(2));
  assert.equal(short((await right.next()).value), 2);
  assert.equal((await left.next()).done, true);
  assert.equal(room.state, 'live');
});

test('a failure of the subscription is thrown once, after what came before it', async (t) => {
  const { room, socket } = await joined(t);
  const items = room[Symbol.asyncIterator]();
  socket().say({ on: ROOM, end: { code: 'forbidden', retry: false } });
  assert.equal(short((await items.next()).value), 1);
  await assert.rejects(items.next(), { code: 'forbidden' });
  assert.equal((await items.next()).done, true);
});

test('a loop that waits is ended by close, and by a failure', async (t) => {
  const { client, room } = await joined(t);
  const items = room[Symbol.asyncIterator]();
  await items.next();
  const waiting = items.next();
  client.close();
  assert.equal((await waiting).done, true);
  await settle();
  assert.equal(room.state, 'ended');
});
