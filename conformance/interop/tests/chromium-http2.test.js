/** Chromium opens a WebSocket over the HTTP/2 connection that its page came by (RFC 8441), with compression. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { makeCertificate, startEcho } from './programs.js';

/** @type {import('./programs.js').Certificate} */
let certificate;
/** @type {import('./programs.js').Peer} */
let echo;
/** @type {import('playwright-core').BrowserContext} */
let browser;
let folder = '';

before(async () => {
  certificate = await makeCertificate();
  echo = await startEcho(['--tls-cert', certificate.cert, '--tls-key', certificate.key, '--deflate']);
  folder = await mkdtemp(join(tmpdir(), 'sockeye-interop-'));
  browser = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking'],
    ignoreHTTPSErrors: true,
  });
});

after(async () => {
  await browser?.close();
  await echo?.stop();
  await certificate?.remove();
  if (folder) await rm(folder, { recursive: true, force: true });
});

test('page and socket share one HTTP/2 connection', async () => {
  const page = await browser.newPage();
  const devtools = await browser.newCDPSession(page);
  await devtools.send('Network.enable');
  /** @type {Promise<{ status: number, headers: Record<string, string> }>} */
  const handshake = new Promise((resolve) => {
    devtools.once('Network.webSocketHandshakeResponseReceived', ({ response }) => resolve(response));
  });
  await page.goto(`${echo.https}/`);
  const result = await page.evaluate(async (url) => {
    const [entry] = performance.getEntriesByType('navigation');
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
    const text = 'sockeye ä € 🐟 '.repeat(10_000);
    const answer = new Promise((resolve) => { socket.onmessage = (event) => resolve(event.data); });
    socket.send(text);
    const same = (await answer) === text;
    const closed = new Promise((resolve) => { socket.onclose = (event) => resolve([event.code, event.wasClean]); });
    socket.close(4000);
    const { nextHopProtocol } = /** @type {PerformanceNavigationTiming} */ (entry);
    return { nextHopProtocol, extensions: socket.extensions, same, closed: await closed };
  }, `${echo.wss}/`);
  assert.deepEqual({ ...result, extensions: '' }, { nextHopProtocol: 'h2', extensions: '', same: true, closed: [4000, true] });
  assert.match(result.extensions, /^permessage-deflate/);
  // Over HTTP/1.1 it would be 101.
  assert.equal((await handshake).status, 200);
});
