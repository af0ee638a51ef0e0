/** The client of SockJS in Chromium, over each transport that works there: on a page of the server, on a page from elsewhere, over HTTP/2. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { start, startUsual, within } from './program.js';

const PYTHON = process.env.SOCKEYE_PYTHON ?? 'python3';
const CLIENT = '/assets/sockjs-1.6.1.min.js';
/** Those within a frame go to a page of the server, whatever page they are on. */
const ANYWHERE = ['websocket', 'xhr-streaming', 'eventsource', 'iframe-eventsource', 'xhr-polling', 'iframe-xhr-polling', 'jsonp-polling'];
const AT_HOME = ['htmlfile', 'iframe-htmlfile'];
const MESSAGES = 10_000;

/** @type {import('./program.js').Server} */
let server;
/** With long responses. */
/** @type {import('./program.js').Server} */
let usual;
/** @type {import('./program.js').Server} */
let encrypted;
/** @type {import('playwright-core').BrowserContext} */
let browser;
let folder = '';
let messages = '';
const elsewhere = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>elsewhere</title><link rel=icon href=data:,>'));

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sockeye-sockjs-'));
  const made = spawnSync(PYTHON, ['-m', 'trustme', '--quiet', '--dir', folder, '--identities', 'localhost', '127.0.0.1']);
  assert.equal(made.status, 0, `no certificate: ${made.stderr}`);
  server = await start(['demo', 'sockjs']);
  usual = await startUsual(folder);
  encrypted = await start(['demo', 'sockjs', '--tls-cert', join(folder, 'server.pem'), '--tls-key', join(folder, 'server.key')]);
  const source = await readFile(new URL('messages.js', import.meta.url));
  messages = `data:text/javascript;base64,${source.toString('base64')}`;
  elsewhere.listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
  browser = await chromium.launchPersistentContext(join(folder, 'profile'), {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking', '--disable-features=LocalNetworkAccessChecks'],
    ignoreHTTPSErrors: true,
  });
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await usual?.stop();
  await encrypted?.stop();
  elsewhere.close();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/**
 * @param {string} at the page
 * @param {import('./program.js').Server} where the server
 */
async function open(at, where) {
  const page = await browser.newPage();
  await page.goto(at);
  await page.addScriptTag({ url: `${where.url}${CLIENT}` });
  return page;
}

/**
 * Echoes messages in a page; gives back what was used, and what the close was.
 * @param {import('playwright-core').Page} page
 * @param {string} url
 * @param {string} transport
 * @param {number} count
 */
function talk(page, url, transport, count) {
  return within(page.evaluate(async ({ url, transport, count, messages }) => {
    const { echo } = await import(messages);
    // @ts-ignore: the client's script has made it
    const socket = new SockJS(url, null, { transports: [transport], timeout: 5_000 });
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = ({ code, reason }) => reject(new Error(`${code} ${reason}`));
    });
    const used = socket.transport;
    const heard = await echo(socket, count, 500);
    const closed = new Promise((resolve) => { socket.onclose = ({ code, wasClean }) => resolve([code, wasClean]); });
    socket.close();
    return { used, heard, closed: await closed };
  }, { url, transport, count, messages }));
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} url
 * @param {string} transport
 */
function farewell(page, url, transport) {
  return within(page.evaluate(({ url, transport }) => new Promise((resolve) => {
    // @ts-ignore
    const socket = new SockJS(url, null, { transports: [transport], timeout: 5_000 });
    socket.onclose = ({ code, reason }) => resolve([code, reason]);
  }), { url, transport }));
}

for (const transport of [...ANYWHERE, ...AT_HOME]) {
  const isAtHome = AT_HOME.includes(transport);
  test(`${transport}: ${MESSAGES} messages come back on a page ${isAtHome ? 'of the server' : 'from elsewhere'}`, async () => {
    const address = elsewhere.address();
    // A greeting is a page without a policy of its own.
    const away = `http://localhost:${typeof address === 'object' ? address?.port : 0}/`;
    const page = await open(isAtHome ? `${usual.url}/echo/` : away, usual);
    assert.deepEqual(await talk(page, `${usual.url}/echo`, transport, MESSAGES), { used: transport, heard: MESSAGES, closed: [1000, true] });
    await page.close();
    const other = await open(isAtHome ? `${server.url}/close` : away, server);
    assert.deepEqual(await farewell(other, `${server.url}/close`, transport), [3000, 'Go away!']);
    await other.close();
  });
}

for (const transport of ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling']) {
  test(`${transport}: 100 messages come back over HTTP/2`, async () => {
    const page = await open(`${encrypted.url}/echo`, encrypted);
    const said = await talk(page, `${encrypted.url}/echo`, transport, 100);
    assert.deepEqual(said, { used: transport, heard: 100, closed: [1000, true] });
    const versions = await page.evaluate(() => performance.getEntriesByType('resource').map((entry) => /** @type {PerformanceResourceTiming} */ (entry).nextHopProtocol));
    assert.deepEqual(new Set(versions), new Set(['h2']));
    await page.close();
  });
}

test('where there are no WebSockets the client finds another way by itself', async () => {
  const page = await open(`${server.url}/echo`, server);
  const used = await within(page.evaluate((url) => new Promise((resolve, reject) => {
    // @ts-ignore
    const socket = new SockJS(url);
    socket.onopen = () => resolve(socket.transport);
    socket.onclose = ({ code, reason }) => reject(new Error(`${code} ${reason}`));
  }), `${server.url}/disabled_websocket_echo`));
  assert.equal(used, 'xhr-streaming');
  await page.close();
});
