/** Chromium's WebSocket as a client of our server. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { SIZES, startEcho } from './programs.js';

/** @type {import('./programs.js').Peer} */
let echo;
/** @type {import('playwright-core').BrowserContext} */
let browser;
/** @type {import('playwright-core').Page} */
let page;
let folder = '';

before(async () => {
  echo = await startEcho();
  folder = await mkdtemp(join(tmpdir(), 'sockeye-interop-'));
  browser = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking'],
  });
  page = await browser.newPage();
  // The page's own scripts are of no interest; its origin is.
  await page.route('**/assets/**', (route) => route.abort());
  await page.goto(`${echo.http}/`);
});

after(async () => {
  await browser?.close();
  await echo?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

for (const size of SIZES) {
  test(`text and binary of ${size} bytes come back`, async () => {
    const result = await page.evaluate(async ({ url, size }) => {
      const socket = new WebSocket(url);
      socket.binaryType = 'arraybuffer';
      await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
      const next = () => new Promise((resolve, reject) => {
        socket.onmessage = (event) => resolve(event.data);
        socket.onclose = (event) => reject(new Error(`closed with ${event.code}`));
      });
      const unit = 'sockeye ä € 🐟 ';
      const unitBytes = new TextEncoder().encode(unit).length;
      const text = unit.repeat(Math.floor(size / unitBytes)) + 'x'.repeat(size % unitBytes);
      let answer = next();
      socket.send(text);
      const sameText = (await answer) === text;
      const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 31) % 251);
      answer = next();
      socket.send(bytes);
      const back = new Uint8Array(await answer);
      const sameBytes = back.length === size && back.every((byte, i) => byte === bytes[i]);
      const closed = new Promise((resolve) => { socket.onclose = (event) => resolve([event.code, event.reason, event.wasClean]); });
      socket.close(4000, 'bye');
      return { sameText, sameBytes, closed: await closed, extensions: socket.extensions };
    }, { url: `${echo.ws}/`, size });
    assert.deepEqual(result, { sameText: true, sameBytes: true, closed: [4000, result.closed[1], true], extensions: '' });
  });
}

test('the subprotocol json is selected', async () => {
  const protocol = await page.evaluate(async (url) => {
    const socket = new WebSocket(url, ['soap', 'json']);
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
    socket.close();
    return socket.protocol;
  }, `${echo.ws}/`);
  assert.equal(protocol, 'json');
});

test('only other subprotocols are refused', async () => {
  const code = await page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url, ['soap']);
    socket.onclose = (event) => resolve(event.code);
  }), `${echo.ws}/`);
  assert.equal(code, 1006);
});

test('a server that stops says so with 1001', async () => {
  const stopping = await startEcho();
  await page.evaluate((url) => new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    const shared = /** @type {any} */ (window);
    shared.sawClose = new Promise((closed) => { socket.onclose = (event) => closed([event.code, event.wasClean]); });
    socket.onopen = resolve;
    socket.onerror = reject;
  }), `${stopping.ws}/`);
  assert.equal(await stopping.stop(), 0);
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).sawClose), [1001, true]);
});
