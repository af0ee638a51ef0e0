/** The program from outside: what it prints, where, and how it ends. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { SOCKEYE, open, run, startEcho, startServe } from './programs.js';

/** The promise of the program, and a little for a busy machine. */
const DRAIN_MS = 5_000 + 500;

/** @type {import('./programs.js').Peer} */
let server;

before(async () => { server = await startServe(); });
after(async () => { await server?.stop(); });

test('lines from a pipe come back as lines, and nothing else is printed', async () => {
  const { status, stdout, stderr } = await run(SOCKEYE, ['connect', `${server.ws}/echo`], 'a\nb\n');
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'a\nb\n', stderr: '' });
});

test('a thousand lines come back in order', async () => {
  const lines = Array.from({ length: 1_000 }, (_, i) => `line ${i}\n`).join('');
  const { status, stdout } = await run(SOCKEYE, ['connect', `${server.ws}/echo`], lines);
  assert.equal(status, 0);
  assert.equal(stdout, lines);
});

test('an input far larger than all buffers comes back: neither end stops reading to write', async () => {
  const lines = Array.from({ length: 200_000 }, (_, i) => `line ${i} ${'x'.repeat(100)}\n`).join('');
  const { status, stdout } = await run(SOCKEYE, ['connect', `${server.ws}/echo`], lines);
  assert.equal(status, 0);
  assert.ok(stdout === lines);
});

test('a close that complains is a failure that says so', async () => {
  const { status, stderr } = await run(SOCKEYE, ['connect', `${server.ws}/chat`], `${'x'.repeat(70_000)}\n`);
  assert.notEqual(status, 0);
  assert.match(stderr, /^sockeye: closed: 1009 [^\n]+\n$/);
});

test('--no-close goes on printing after the end of the input', async () => {
  const listener = open(SOCKEYE, ['connect', '--no-close', `${server.ws}/chat`]);
  listener.end();
  for (let i = 0; i < 100 && listener.outcome.stdout === ''; i += 1) await sleep(50);
  await run(SOCKEYE, ['connect', `${server.ws}/chat`], '{"user":"ann","text":"still there?"}\n');
  for (let i = 0; i < 100 && !listener.outcome.stdout.includes('still there?'); i += 1) await sleep(50);
  assert.match(listener.outcome.stdout, /still there\?/);
  listener.kill('SIGTERM');
  assert.equal((await listener.ended).status, 0);
});

test('a message is printed when it comes, not at the end', async () => {
  const running = open(SOCKEYE, ['connect', `${server.ws}/echo`]);
  running.write('now\n');
  for (let i = 0; i < 100 && running.outcome.stdout === ''; i += 1) await sleep(50);
  assert.equal(running.outcome.stdout, 'now\n');
  running.end();
  assert.equal((await running.ended).status, 0);
});

test('a refused connection is a failure with one line on stderr', async () => {
  const port = await freePort();
  const { status, stdout, stderr } = await run(SOCKEYE, ['connect', `ws://127.0.0.1:${port}/`], 'a\n');
  assert.notEqual(status, 0);
  assert.equal(stdout, '');
  assert.match(stderr, /^sockeye: [^\n]+\n$/);
});

test('an answer that is no WebSocket is a failure with one line on stderr', async () => {
  const { status, stdout, stderr } = await run(SOCKEYE, ['connect', `${server.ws}/no-such-path`]);
  assert.notEqual(status, 0);
  assert.equal(stdout, '');
  assert.match(stderr, /^sockeye: [^\n]*404[^\n]*\n$/);
});

test('what is no ws:// address is a failure with one line on stderr', async () => {
  const { status, stderr } = await run(SOCKEYE, ['connect', 'http://[']);
  assert.notEqual(status, 0);
  assert.match(stderr, /^sockeye: [^\n]+\n$/);
});

test('an address that is taken is a failure with one line on stderr', async () => {
  const { status, stderr } = await run(SOCKEYE, ['serve', '--listen', `127.0.0.1:${server.port}`]);
  assert.notEqual(status, 0);
  assert.match(stderr, /^sockeye: [^\n]+\n$/);
});

test('serve shows a page and says it is healthy', async () => {
  for (const [path, type] of [['/', 'text/html'], ['/echo', 'text/html'], ['/chat', 'text/html'], ['/cursors', 'text/html'], ['/health', 'application/json']]) {
    const response = await fetch(server.http + path);
    assert.equal(response.status, 200, path);
    assert.ok(response.headers.get('content-type')?.startsWith(type ?? ''), path);
    await response.arrayBuffer();
  }
});

for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT'])) {
  test(`${signal} sends every client 1001 and ends with status 0`, async () => {
    const draining = open(SOCKEYE, ['serve', '--listen', '127.0.0.1:0']);
    const port = await listening(draining);
    const sockets = await Promise.all(['echo', 'chat', 'cursors', 'echo'].map((path) => connected(`ws://127.0.0.1:${port}/${path}`)));
    const codes = sockets.map((socket) => once(socket, 'close').then(([code]) => code));
    const started = performance.now();
    draining.kill(signal);
    assert.deepEqual(await Promise.all(codes), [1001, 1001, 1001, 1001]);
    assert.equal((await draining.ended).status, 0);
    assert.ok(performance.now() - started < DRAIN_MS);
  });
}

test('SIGTERM does not wait longer for a client that never answers', async () => {
  const draining = open(SOCKEYE, ['demo', 'echo', '--listen', '127.0.0.1:0']);
  const socket = await connected(`ws://127.0.0.1:${await listening(draining)}/`);
  // It reads nothing more, so it never answers the Close.
  socket.pause();
  const started = performance.now();
  draining.kill('SIGTERM');
  assert.equal((await draining.ended).status, 0);
  assert.ok(performance.now() - started < DRAIN_MS);
  socket.terminate();
});

test('SIGINT makes connect leave with 1001', async () => {
  const echo = await startEcho();
  const running = open(SOCKEYE, ['connect', `${echo.ws}/`]);
  running.write('ready\n');
  for (let i = 0; i < 100 && running.outcome.stdout === ''; i += 1) await sleep(50);
  running.kill('SIGINT');
  assert.equal((await running.ended).status, 0);
  await echo.stop();
});

test('help and version are printed', async () => {
  const help = await run(SOCKEYE, ['--help']);
  assert.equal(help.status, 0);
  assert.match(help.stdout, /serve[^]*demo[^]*connect/);
  const version = await run(SOCKEYE, ['--version']);
  assert.equal(version.status, 0);
  assert.match(version.stdout, /^sockeye \d+\.\d+\.\d+/);
});

/** @param {string} url */
async function connected(url) {
  const socket = new WebSocket(url);
  await once(socket, 'open');
  return socket;
}

/** @param {ReturnType<typeof open>} server */
async function listening(server) {
  for (let i = 0; i < 200; i += 1) {
    const found = /listening on http:\/\/[^\s/]*:(\d+)\//.exec(server.outcome.stdout);
    if (found) return Number(found[1]);
    await sleep(50);
  }
  throw new Error(`it did not say where it listens: ${server.outcome.stderr}`);
}

/** A port where nobody listens: one that was free a moment ago. */
async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (listener.address());
  listener.close();
  await once(listener, 'close');
  return port;
}
