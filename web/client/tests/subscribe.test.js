/** Each publication once, in its place, or a word about what is missing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agree, greet, pass, refuse, settle, world } from './world.js';

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
