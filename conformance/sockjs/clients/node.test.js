/** The client of SockJS in Node, over each transport that it has there. SOCKJS_URL names a server other than ours. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import SockJS from 'sockjs-client';
import { echo } from './messages.js';
import { start, within } from './program.js';

const TRANSPORTS = ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling'];
const MESSAGES = 10_000;

/** @type {import('./program.js').Server} */
let server;

before(async () => {
  server = process.env.SOCKJS_URL ? { url: process.env.SOCKJS_URL, stop: async () => {} } : await start(['demo', 'sockjs']);
});
after(() => server?.stop());

/**
 * @param {string} path
 * @param {string} transport
 */
function open(path, transport) {
  const socket = new SockJS(`${server.url}${path}`, null, { transports: [transport], timeout: 5_000 });
  return within(new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket);
    socket.onclose = ({ code, reason }) => reject(new Error(`${code} ${reason}`));
  }));
}

/** @param {any} socket */
function closed(socket) {
  return within(new Promise((resolve) => { socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean }); }));
}

for (const transport of TRANSPORTS) {
  test(`${transport}: ${MESSAGES} messages come back, in order`, async () => {
    const socket = await open('/echo', transport);
    assert.equal(socket.transport, transport);
    assert.equal(await within(echo(socket, MESSAGES, 300)), MESSAGES);
    const left = closed(socket);
    socket.close(1000, 'done');
    assert.deepEqual(await left, { code: 1000, reason: 'done', wasClean: true });
  });

  test(`${transport}: what is sent at once comes back, in order`, async () => {
    const socket = await open('/echo', transport);
    assert.equal(await within(echo(socket, 3_000, 3_000)), 3_000);
    socket.close();
  });

  test(`${transport}: the server's goodbye arrives`, async () => {
    const socket = new SockJS(`${server.url}/close`, null, { transports: [transport], timeout: 5_000 });
    assert.deepEqual(await closed(socket), { code: 3000, reason: 'Go away!', wasClean: true });
  });
}

test('where there are no WebSockets the client takes the next transport', async () => {
  const socket = new SockJS(`${server.url}/disabled_websocket_echo`, null, { transports: ['websocket', 'xhr-streaming'] });
  await within(new Promise((resolve) => { socket.onopen = resolve; }));
  assert.equal(socket.transport, 'xhr-streaming');
  assert.equal(await within(echo(socket, 100, 10)), 100);
  socket.close();
});
