/** The client on real sockets, in every runtime that is here: Node always, Deno and Bun where they are on the path. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { WebSocketServer } from 'ws';
import { Hub } from './hub.js';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('smoke.js', import.meta.url));
const DEADLINE_MS = 30_000;

/** @type {[string, string[]][]} */
const RUNTIMES = [
  [process.execPath, []],
  [process.env.DENO ?? 'deno', ['run', '--allow-net', '--no-lock']],
  [process.env.BUN ?? 'bun', []],
];

/** A server on a free port of this machine, which drops everybody when it is called to. @param {import('node:test').TestContext} t */
async function serve(t) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  const hub = new Hub();
  server.on('connection', (socket) => {
    assert.equal(socket.protocol, 'sockeye.v1.json');
    const far = hub.accept((text) => socket.send(text));
    socket.on('message', (data) => {
      const text = String(data);
      if (text.includes('"call":"drop"')) for (const each of server.clients) each.terminate();
      else far.heard(text);
    });
    socket.on('close', far.gone);
  });
  await once(server, 'listening');
  t.after(() => {
    for (const each of server.clients) each.terminate();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === 'object' && address);
  return { url: `ws://127.0.0.1:${address.port}/ws`, hub };
}

for (const [program, options] of RUNTIMES) {
  const name = program.split('/').at(-1) ?? program;
  const isHere = await run(program, ['--version']).then(() => true, () => false);
  if (!isHere) continue;
  test(`${name}: forty publications, a break in the middle, each heard once and in order`, { timeout: DEADLINE_MS + 5000 }, async (t) => {
    const { url, hub } = await serve(t);
    const { stdout } = await run(program, [...options, SCRIPT, url], { timeout: DEADLINE_MS });
    assert.equal(stdout.trim(), 'smoke: ok');
    assert.equal(hub.channel('chat:lobby').log.length, 40);
  });
}
