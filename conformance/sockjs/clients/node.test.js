/** The client of SockJS in Node, over each transport that it has there. SOCKJS_URL names a server other than ours. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import SockJS from 'sockjs-client';
import { echo } from './messages.js';
import { start, startUsual, within } from './program.js';

const TRANSPORTS = ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling'];
const MESSAGES = 10_000;

/** With its responses of at most 4,096 bytes: there is much to go on with after each. */
/** @type {import('./program.js').Server} */
let server;
/** With long ones. */
/** @type {import('./program.js').Server} */
let usual;
let folder = '';

before(async () => {
  const other = process.env.SOCKJS_URL;
  server = other ? { url: other, stop: async () => {} } : await start(['demo', 'sockjs']);
  folder = await mkdtemp(join(tmpdir(), 'sockeye-sockjs-'));
  usual = other ? server : await startUsual(folder);
});
after(async () => {
  await server?.stop();
  await usual?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/**
 * @param {string} url
 * @param {string} transport
 */
function open(url, transport) {
  const socket = new SockJS(url, null, { transports: [transport], timeout: 5_000 });
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
    const socket = await open(`${usual.url}/echo`, transport);
    assert.equal(socket.transport, transport);
    assert.equal(await within(echo(socket, MESSAGES, 300)), MESSAGES);
    const left = closed(socket);
    socket.close(1000, 'done');
    assert.deepEqual(await left, { code: 1000, reason: 'done', wasClean: true });
  });

  test(`${transport}: what is sent at once comes back, in order`, async () => {
    const socket = await open(`${usual.url}/echo`, transport);
    assert.equal(await within(echo(socket, 1_500, 1_500)), 1_500);
    socket.close();
  });

  test(`${transport}: nothing is lost between short responses`, async () => {
    const socket = await open(`${server.url}/echo`, transport);
    assert.equal(await within(echo(socket, 100, 10)), 100);
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
