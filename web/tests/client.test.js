/** The JavaScript client in a real page: the module as it is served, a real socket, a network that goes and comes back. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { Hub } from '../client/tests/hub.js';
import { Browser } from './browser.js';

const PAGE = `<!doctype html><title>chat</title><pre id="log"></pre><p id="who"></p><script type="module" src="/page.js"></script>`;
const SCRIPT = `
import { connect } from '/sockeye.js';
const client = connect('/ws');
const room = client.subscribe('chat:lobby', { last: 20, as: { name: 'Ann' } });
const { log, who } = window;
room.onmessage = ({ data }) => log.append(data.text + ' ');
room.onmembers = ({ members }) => (who.textContent = [...members.values()].map(({ as }) => as.name).join());
room.onlost = ({ reason }) => log.append('lost:' + reason + ' ');
Object.assign(window, { client, room });
`;

const hub = new Hub();
const server = createServer(async (request, response) => {
  const files = new Map([['/', ['text/html', PAGE]], ['/page.js', ['text/javascript', SCRIPT]], ['/favicon.ico', ['image/png', '']]]);
  const [type, body] = files.get(request.url ?? '') ?? ['text/javascript', await readFile(new URL(`../client${request.url}`, import.meta.url), 'utf8')];
  response.writeHead(200, { 'content-type': `${type}`, 'content-security-policy': "default-src 'self'" }).end(body);
});
const sockets = new WebSocketServer({ server });
/** @type {Browser} */
let browser;
let url = '';

before(async () => {
  sockets.on('connection', (socket) => {
    const far = hub.accept((text) => socket.send(text));
    socket.on('message', (data) => far.heard(String(data)));
    socket.on('close', far.gone);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === 'object' && address?.port}/`;
  browser = await Browser.launch();
});

after(async () => {
  await browser?.close();
  for (const socket of sockets.clients) socket.terminate();
  sockets.close();
  server.close();
});

/** @param {import('./browser.js').Page} page @param {string} text */
const says = (page, text) => page.waitForFunction((text) => document.querySelector('#log')?.textContent === text, text);

test('a chat of ten lines: it is heard, who is there is seen, and a break loses nothing', async () => {
  const page = await browser.open(url);
  await page.waitForFunction(() => document.querySelector('#who')?.textContent === 'Ann');
  await page.evaluate(() => Reflect.get(window, 'room').publish({ text: 'one' }));
  await says(page, 'one ');
  for (const socket of sockets.clients) socket.terminate();
  await page.evaluate(() => {
    const { room } = /** @type {any} */ (window);
    return Promise.all([room.publish({ text: 'two' }), room.publish({ text: 'three' })]);
  });
  await says(page, 'one two three ');
  const second = await browser.open(url);
  await says(second, 'one two three ');
  await page.waitForFunction(() => document.querySelector('#who')?.textContent === 'Ann,Ann');
  await second.close();
  await page.waitForFunction(() => document.querySelector('#who')?.textContent === 'Ann');
  await page.close();
  assert.deepEqual(browser.troubles, []);
});

test('a frozen page gives its connection back, and catches up when it is thawed', async () => {
  const page = await browser.open(url);
  await page.waitForFunction(() => Reflect.get(window, 'room').state === 'live');
  const before = await page.evaluate(() => document.querySelector('#log')?.textContent);
  await page.evaluate(() => document.dispatchEvent(new Event('freeze')));
  assert.deepEqual(await page.evaluate(() => Reflect.get(window, 'client').state), { name: 'paused', reason: 'frozen' });
  const other = await browser.open(url);
  await other.evaluate(() => Reflect.get(window, 'room').publish({ text: 'meanwhile' }));
  await page.evaluate(() => document.dispatchEvent(new Event('resume')));
  await says(page, `${before}meanwhile `);
  await Promise.all([page.close(), other.close()]);
  assert.deepEqual(browser.troubles, []);
});
