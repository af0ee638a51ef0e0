/** The npm package `ws` as a client of our server. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { SIZES, bytesOf, digest, startEcho, textOf } from './programs.js';

/** @type {import('./programs.js').Peer} */
let echo;
/** @type {import('./programs.js').Peer} */
let small;

before(async () => {
  echo = await startEcho();
  small = await startEcho(['--max-message', '1KiB']);
});

after(async () => {
  await echo?.stop();
  await small?.stop();
});

/**
 * @param {string[]} [protocols]
 * @param {import('ws').ClientOptions} [options]
 * @param {string} [url]
 */
async function connect(protocols = [], options = {}, url = `${echo.ws}/`) {
  const socket = new WebSocket(url, protocols, { maxPayload: 64 << 20, ...options });
  await once(socket, 'open');
  return socket;
}

/**
 * @param {WebSocket} socket
 * @returns {Promise<{ data: Buffer, binary: boolean }>}
 */
async function next(socket) {
  const [data, binary] = await once(socket, 'message');
  return { data, binary };
}

/**
 * @param {WebSocket} socket
 * @returns {Promise<[number, string]>}
 */
async function closed(socket) {
  const [code, reason] = await once(socket, 'close');
  return [code, reason.toString()];
}

for (const size of SIZES) {
  test(`text and binary of ${size} bytes come back`, async () => {
    const socket = await connect();
    for (const message of [textOf(size), bytesOf(size)]) {
      const answer = next(socket);
      socket.send(message);
      const { data, binary } = await answer;
      assert.equal(binary, typeof message !== 'string');
      assert.equal(digest(data), digest(message));
    }
    socket.close(1000);
    assert.deepEqual(await closed(socket), [1000, '']);
  });
}

test('fragments come back as one message, with a ping between them', async () => {
  const socket = await connect();
  const answer = next(socket);
  const pong = once(socket, 'pong');
  // The euro sign is cut between its bytes: fragments may end inside a character.
  const bytes = Buffer.from('ab€cd');
  socket.send(bytes.subarray(0, 3), { fin: false, binary: false });
  socket.send(bytes.subarray(3, 4), { fin: false });
  socket.ping('between');
  socket.send(Buffer.alloc(0), { fin: false });
  socket.send(bytes.subarray(4), { fin: true });
  const { data, binary } = await answer;
  assert.deepEqual([data.toString(), binary], ['ab€cd', false]);
  assert.equal((await pong)[0].toString(), 'between');
  socket.terminate();
});

test('a megabyte in 1,000 fragments comes back', async () => {
  const socket = await connect();
  const whole = bytesOf(1_000_000);
  const answer = next(socket);
  for (let i = 0; i < 1_000; i += 1) {
    socket.send(whole.subarray(i * 1_000, (i + 1) * 1_000), { fin: i === 999, binary: true });
  }
  const { data, binary } = await answer;
  assert.equal(binary, true);
  assert.equal(digest(data), digest(whole));
  socket.terminate();
});

test('many messages in flight come back in order', async () => {
  const socket = await connect();
  /** @type {string[]} */
  const seen = [];
  const all = new Promise((resolve) => {
    socket.on('message', (data) => { if (seen.push(data.toString()) === 2_000) resolve(undefined); });
  });
  const sent = Array.from({ length: 2_000 }, (_, i) => `message ${i}`);
  for (const message of sent) socket.send(message);
  await all;
  assert.deepEqual(seen, sent);
  socket.terminate();
});

test('pings of 0 and 125 bytes are answered with their payload', async () => {
  const socket = await connect();
  for (const payload of ['', 'p'.repeat(125)]) {
    const pong = once(socket, 'pong');
    socket.ping(payload);
    assert.equal((await pong)[0].toString(), payload);
  }
  socket.terminate();
});

for (const [code, reason] of /** @type {[number, string][]} */ ([[1000, 'done'], [1001, ''], [3000, 'ü'], [4999, 'r'.repeat(123)]])) {
  test(`the client closes with ${code} and gets it back`, async () => {
    const socket = await connect();
    socket.close(code, reason);
    const [answer] = await closed(socket);
    assert.equal(answer, code);
  });
}

test('a Close without a code is answered without one', async () => {
  const socket = await connect();
  socket.close();
  assert.equal((await closed(socket))[0], 1005);
});

test('the server closes invalid UTF-8 with 1007', async () => {
  const socket = await connect();
  socket.send(Buffer.from([0x61, 0xff]), { binary: false });
  assert.equal((await closed(socket))[0], 1007);
});

test('the server closes a message over its limit with 1009', async () => {
  const socket = await connect([], {}, `${small.ws}/`);
  const fits = next(socket);
  socket.send('x'.repeat(1024));
  assert.equal((await fits).data.length, 1024);
  socket.send('x'.repeat(1025));
  assert.equal((await closed(socket))[0], 1009);
});

test('the server closes an unmasked frame with 1002', async () => {
  const socket = await connect();
  socket.send('unmasked', { mask: false });
  assert.equal((await closed(socket))[0], 1002);
});

test('the subprotocol json is selected among others', async () => {
  const socket = await connect(['soap', 'json']);
  assert.equal(socket.protocol, 'json');
  socket.terminate();
});

test('no subprotocol is selected when none is offered', async () => {
  const socket = await connect();
  assert.equal(socket.protocol, '');
  socket.terminate();
});

test('a client that offers only other subprotocols is refused with 400', async () => {
  const socket = new WebSocket(`${echo.ws}/`, ['soap']);
  socket.on('error', () => {});
  const [request, response] = await once(socket, 'unexpected-response');
  assert.equal(response.statusCode, 400);
  request.destroy();
});

test('a plain GET shows a page', async () => {
  const response = await fetch(`${echo.http}/`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type') ?? '', /^text\/html/);
  await response.arrayBuffer();
});
