/** The pages over each transport, and with WebSocket blocked: Chromium, the real server, and a hostile proxy between them. */

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Browser, connected, eventually } from './browser.js';
import { startProxy } from './hostile-proxy.js';
import { startServer } from './server.js';

/** @typedef {import('playwright-core').Page} Page */

const NAMES = { websocket: 'WebSocket', stream: 'HTTP stream', events: 'Server-sent events', poll: 'Long-polling' };

/** @type {import('./server.js').Server} */
let server;
/** @type {import('./hostile-proxy.js').Proxy} */
let proxy;
/** @type {Browser} */
let browser;
/** @type {Page[]} */
let pages = [];

before(async () => {
  server = await startServer(['serve']);
  proxy = await startProxy(server.port);
});
after(async () => {
  await proxy?.stop();
  await server?.stop();
});
afterEach(async () => {
  proxy.manners = {};
  pages = [];
  await browser?.close();
});

/** A browser that remembers nothing of the test before. @param {string} [query] */
const openCursors = (query = '') => openPage(`cursors${query}`);

/** @param {string} path */
async function openPage(path) {
  if (pages.length === 0) browser = await Browser.launch();
  const page = await browser.open(proxy.url + path);
  pages.push(page);
  return page;
}

/** @param {Page} page @param {keyof typeof NAMES} transport */
async function uses(page, transport) {
  await page.locator(`#carrier[data-transport="${transport}"]`).waitFor({ timeout: 20_000 });
  assert.equal(await page.locator('#carrier').textContent(), NAMES[transport]);
  await connected(page);
}

/** Each sees the other's arrow move. @param {Page} ann @param {Page} ben */
async function seeEachOther(ann, ben) {
  for (const [mover, watcher, x] of /** @type {[Page, Page, number][]} */ ([[ann, ben, 150], [ben, ann, 520]])) {
    await mover.bringToFront();
    await mover.mouse.move(x, 222);
    await watcher.bringToFront();
    await eventually(async () => {
      const places = await watcher.locator('.cursor[data-sender]').evaluateAll((arrows) => arrows.map((arrow) => new DOMMatrix(getComputedStyle(arrow).transform).m41));
      return places.length === 1 && Math.abs((places[0] ?? 0) - x) < 1.5;
    }, `an arrow at ${x}`);
  }
}

/** What the browser itself says about requests that failed is no trouble of the page. @param {RegExp} expected */
function untroubled(expected) {
  assert.deepEqual(browser.troubles.filter((trouble) => !expected.test(trouble)), []);
}

for (const transport of /** @type {const} */ (['websocket', 'stream', 'events', 'poll'])) {
  test(`switched to ${NAMES[transport]}: it is used, and arrows move`, async () => {
    const ann = await openCursors();
    await uses(ann, 'websocket');
    await ann.getByLabel('Transport').selectOption(transport);
    await uses(ann, transport);
    const ben = await openCursors(`?transport=${transport}`);
    await uses(ben, transport);
    await seeEachOther(ann, ben);
    if (transport !== 'websocket') assert.ok(proxy.seen.includes(`GET /cursors/${transport}`) && proxy.seen.includes('POST /cursors/send'));
    await ben.close();
    await eventually(async () => (await ann.locator('.cursor[data-sender]').count()) === 0, 'who closes the window has left at once', 3000);
    untroubled(/^$/);
  });
}

test('the demo alone has every transport beside its page, whatever the path', async () => {
  const demo = await startServer(['demo', 'cursors']);
  browser = await Browser.launch();
  try {
    for (const [path, transport] of /** @type {const} */ ([['', 'stream'], ['cursors', 'events'], ['ws', 'poll'], ['', 'websocket']])) {
      const page = await browser.open(`${demo.url}${path}?transport=${transport}`);
      await uses(page, transport);
      await page.mouse.move(300, 300);
      await page.getByText('You:').waitFor();
      await page.close();
    }
    untroubled(/^$/);
  } finally {
    await demo.stop();
  }
});

/** @type {[string, import('./hostile-proxy.js').Manners, keyof typeof NAMES][]} */
const WALLS = [
  ['refused', { upgrade: 403 }, 'stream'],
  ['swallowed', { upgrade: 'swallow' }, 'stream'],
  ['cut after the 101', { upgrade: 'cut' }, 'stream'],
  ['silent after the 101', { upgrade: 'mute' }, 'stream'],
  ['refused, and answers held until they are whole', { upgrade: 400, buffer: true, only: /^\/cursors\// }, 'poll'],
];

for (const [name, manners, transport] of WALLS) {
  test(`WebSocket ${name}: the page works over ${NAMES[transport]}, and the next one begins with it`, async () => {
    proxy.manners = { ...manners, only: /^\/cursors(\/|$)/ };
    const ann = await openCursors();
    await uses(ann, transport);
    const before = proxy.seen.length;
    const ben = await openCursors();
    await uses(ben, transport);
    assert.ok(!proxy.seen.slice(before).includes('UPGRADE /cursors'), 'remembered');
    await seeEachOther(ann, ben);
    untroubled(/WebSocket connection to .* failed|WebSocket is closed before/);
  });
}

test('a WebSocket that is silent after the 101 is never said to be in use, nor climbed to', async () => {
  proxy.manners = { upgrade: 'mute', only: /^\/cursors$/ };
  const ann = await openCursors();
  await ann.evaluate(() => {
    const carrier = document.querySelector('#carrier');
    const used = /** @type {(string | undefined)[]} */ ([]);
    Object.assign(window, { used });
    new MutationObserver(() => used.push(/** @type {HTMLElement} */ (carrier).dataset.transport)).observe(/** @type {Element} */ (carrier), { attributes: true });
  });
  await uses(ann, 'stream');
  const trial = ann.waitForEvent('websocket');
  await ann.evaluate(() => dispatchEvent(new Event('online')));
  await (await trial).waitForEvent('close', { timeout: 20_000 });
  await uses(ann, 'stream');
  const used = await ann.evaluate(() => /** @type {string[]} */ (Reflect.get(window, 'used')));
  assert.deepEqual([...new Set(used)].filter((transport) => transport !== ''), ['stream']);
  untroubled(/WebSocket connection to .* failed|WebSocket is closed before/);
});

test('a transport that is pinned and does not get through says so, and Automatic does', async () => {
  proxy.manners = { upgrade: 403 };
  const ann = await openCursors('?transport=websocket');
  await ann.getByText('WebSocket does not get through just now. “Automatic” tries the others too.').waitFor();
  await ann.getByLabel('Transport').selectOption('auto');
  await uses(ann, 'stream');
  assert.equal(await ann.locator('#advice').textContent(), '');
  untroubled(/WebSocket connection to .* failed/);
});

test('a lost connection is called so, not an empty room', async () => {
  const ann = await openCursors();
  await uses(ann, 'websocket');
  await ann.getByText('Only you here').waitFor();
  proxy.manners = { upgrade: 502, answer: 502 };
  proxy.cut();
  await ann.locator('#count').filter({ hasText: /^Reconnecting$/ }).waitFor();
  assert.equal(await ann.locator('#carrier').textContent(), '');
  proxy.manners = {};
  await ann.getByText('Only you here').waitFor({ timeout: 20_000 });
  untroubled(/WebSocket connection to .* failed|502/);
});

/** @type {[string, import('./hostile-proxy.js').Manners['upgrade']][]} */
const BLOCKED = [['refused', 403], ['silent after the 101', 'mute']];

for (const [name, upgrade] of BLOCKED) {
  test(`WebSocket ${name}: the front page, the echo and the chat get through`, async () => {
    proxy.manners = { upgrade };
    const open = async (/** @type {string} */ path) => {
      const page = await openPage(path);
      await page.locator('.status[data-state="open"]').waitFor({ timeout: 20_000 });
      return page;
    };
    const index = await open('');
    await index.getByText(/It answers this page in .* ms/).waitFor();

    const echo = await open('echo');
    await echo.getByRole('textbox', { name: 'Text', exact: true }).fill('{}');
    await echo.getByRole('button', { name: 'Send text' }).click();
    await echo.locator('.reply[data-kind="text"][data-outcome="same"]').waitFor();
    await echo.getByRole('button', { name: 'Send bytes' }).click();
    await echo.getByRole('alert').filter({ hasText: 'HTTP stream, which does, takes text, no bytes.' }).waitFor();

    const [ann, ben] = [await open('chat'), await open('chat')];
    await ann.getByLabel('Message', { exact: true }).fill(`hello, ${name}`);
    await ann.keyboard.press('Enter');
    await ben.locator('.message-text').filter({ hasText: `hello, ${name}` }).waitFor();
    untroubled(/WebSocket connection to .* failed|WebSocket is closed before/);
  });
}

test('the echo and the chat climb back when the wall is gone: bytes come back, and nothing that was said is missing', async () => {
  proxy.manners = { upgrade: 403 };
  const [echo, chat] = [await openPage('echo'), await openPage('chat')];
  for (const page of [echo, chat]) await connected(page);
  proxy.manners = {};
  const upgrades = () => proxy.seen.filter((request) => request.startsWith('UPGRADE')).length;
  const before = upgrades();
  for (const page of [echo, chat]) await page.evaluate(() => dispatchEvent(new Event('online')));
  await eventually(() => upgrades() >= before + 2, 'each tries');
  await eventually(async () => {
    await echo.getByRole('button', { name: 'Send bytes' }).click();
    return (await echo.locator('.reply[data-kind="binary"][data-outcome="same"]').count()) > 0;
  }, 'bytes');
  assert.equal(await echo.locator('.reply:not([data-kind="binary"])').count(), 0, 'what the page asks by itself is not shown');
  await eventually(() => proxy.seen.includes('POST /chat/leave'), 'the chat has climbed');
  await chat.getByLabel('Message', { exact: true }).fill('over a WebSocket now');
  await chat.keyboard.press('Enter');
  await chat.locator('.message.mine').filter({ hasText: 'over a WebSocket now' }).waitFor();
  untroubled(/WebSocket connection to .* failed/);
});

test('it climbs back when the wall is gone, and the arrow stays', async () => {
  proxy.manners = { upgrade: 403 };
  const ann = await openCursors();
  await uses(ann, 'stream');
  const ben = await openCursors();
  await uses(ben, 'stream');
  proxy.manners = {};
  // The browser says that the network changed: there is no need to wait for the half minute.
  await ann.evaluate(() => dispatchEvent(new Event('online')));
  await uses(ann, 'websocket');
  await uses(ben, 'stream');
  await seeEachOther(ann, ben);
  untroubled(/WebSocket connection to .* failed/);
});

/** @type {[string, import('./hostile-proxy.js').Manners][]} */
const CUTS = [['kind', {}], ['one that cuts and forgets Last-Event-ID', { cutAfterBytes: 600, strip: ['last-event-id'] }]];

for (const [name, manners] of CUTS) {
  test(`the client in a page over server-sent events, the proxy ${name}: each is heard once and in order`, async () => {
    const page = await openCursors();
    proxy.manners = { ...manners, only: /^\/ws\/events/ };
    const before = proxy.seen.length;
    const { used, session, heard } = await page.evaluate(async () => {
      const { connect } = await import('/sockeye.js');
      const client = connect('/ws', { transports: ['events'] });
      const room = client.subscribe('events');
      await room.ready;
      const { session: first } = /** @type {{ session: string }} */ (client.state);
      /** @type {number[]} */
      const heard = [];
      const all = new Promise((resolve) => (room.onmessage = ({ data }) => heard.push(data) && data === 49 && resolve(undefined)));
      for (let number = 0; number < 50; number += 1) await client.publish('events', number);
      await all;
      const { session: last } = /** @type {{ session: string }} */ (client.state);
      const used = client.transport;
      client.close();
      return { used, session: first === last ? 'the same' : 'another', heard };
    });
    assert.equal(used, 'events');
    assert.deepEqual(heard, Array.from({ length: 50 }, (_, index) => index));
    assert.equal(session, 'the same');
    const responses = proxy.seen.slice(before).filter((request) => request === 'GET /ws/events').length;
    assert.ok(name === 'kind' ? responses === 1 : responses > 5, `${responses} responses`);
    untroubled(/INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE/);
  });
}
