/** What arrives may be anything: in node, without a browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fishName, hueOf } from '../pages/fish.js';
import { CHAT_MESSAGES_LIMIT, readChat, readCursor, readHex } from '../pages/wire.js';

const NONSENSE = [undefined, null, 7, '', 'null', '[]', '7', '"x"', '{', '{}', 'true', '{"msg":7}', '{"msg":{"length":3}}', '{"error":7}', '{"x":1}', new ArrayBuffer(4), '\u0000', '{"__proto__":{"msg":[]}}'];

test('nonsense is nothing', () => {
  for (const data of NONSENSE) {
    assert.equal(readChat(data), undefined, String(data));
    assert.equal(readCursor(data), undefined, String(data));
  }
});

test('a chat state keeps what is well formed', () => {
  const good = { user: 'ann', text: 'hi', time: 1732147200000 };
  const bad = [null, 7, 'x', [], {}, { user: 'a' }, { user: 1, text: 't' }, { user: 'a', text: {} }];
  assert.deepEqual(readChat(JSON.stringify({ msg: [...bad, good] })), { kind: 'state', messages: [good] });
  for (const time of [null, 'soon', {}, 9e15, -9e15]) {
    assert.deepEqual(readChat(JSON.stringify({ msg: [{ ...good, time }] })), { kind: 'state', messages: [{ ...good, time: undefined }] });
  }
  const event = readChat(JSON.stringify({ msg: Array(5000).fill(good) }));
  assert.equal(event?.kind === 'state' && event.messages.length, CHAT_MESSAGES_LIMIT);
  assert.deepEqual(readChat('{"error":"no"}'), { kind: 'error', text: 'no' });
});

test('a cursor is a sender, a place and a hue', () => {
  const good = { x: 1, y: 2, sender: 's', color: 211 };
  const read = (/** @type {object} */ change) => readCursor(JSON.stringify({ ...good, ...change }));
  assert.deepEqual(read({}), { kind: 'move', sender: 's', hue: 211, x: 1, y: 2, tag: undefined, ripple: false });
  assert.deepEqual(read({ tag: 't', ripple: true }), { kind: 'move', sender: 's', hue: 211, x: 1, y: 2, tag: 't', ripple: true });
  assert.deepEqual(readCursor('{"sender":"s","gone":true}'), { kind: 'gone', sender: 's' });
  for (const change of [{ x: '1' }, { y: null }, { sender: 7 }, { sender: '' }, { sender: 'x'.repeat(65) }, { x: undefined }]) assert.equal(read(change), undefined);
  assert.equal(readCursor('{"x":1e999,"y":2,"sender":"s","color":1}'), undefined);
  for (const [color, hue] of [[-10, 350], [730, 10], ['red', 200], [null, 200]]) assert.deepEqual(/** @type {{ hue: number }} */ (read({ color })).hue, hue);
  assert.deepEqual(readCursor('{"error":"no"}'), { kind: 'error', text: 'no' });
});

test('who sends an error with a position does not speak for the server', () => {
  const event = readCursor('{"color":211,"error":"go away","sender":"s","x":1,"y":2}');
  assert.equal(event?.kind, 'move');
});

test('hex as people write it', () => {
  const bytes = (/** @type {string} */ text) => readHex(text) && [...(readHex(text) ?? [])];
  assert.deepEqual(bytes('53 6f 63 6B'), [0x53, 0x6f, 0x63, 0x6b]);
  assert.deepEqual(bytes('536f636b'), [0x53, 0x6f, 0x63, 0x6b]);
  assert.deepEqual(bytes('0x53, 0x6F,0x63'), [0x53, 0x6f, 0x63]);
  assert.deepEqual(bytes('00:ff\n'), [0, 255]);
  assert.deepEqual(bytes(''), []);
  for (const text of ['5', '5 36', 'zz', '53 6', '0x5', '-1', '٣٣']) assert.equal(bytes(text), undefined, text);
});

test('names and hues are stable and spread', () => {
  assert.equal(fishName('6f1c'), fishName('6f1c'));
  const names = new Set(Array.from({ length: 2000 }, (_, index) => fishName(`sender-${index}`)));
  assert.ok(names.size >= 50, `${names.size} names`);
  for (const name of ['', 'ann', '🐟', 'x'.repeat(10_000)]) assert.ok(hueOf(name) >= 0 && hueOf(name) < 360);
});
