/** The chat page in real windows. */

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Browser, connected, eventually } from './browser.js';
import { startServer } from './server.js';

/** @typedef {import('playwright-core').Page} Page */

/** Each wants to become more than text; the page answers with text. */
const HOSTILE = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg/onload=alert(1)>',
  '<svg><script>alert(1)</script></svg>',
  '<iframe srcdoc="<script>parent.alert(1)</script>"></iframe>',
  '<iframe src="javascript:alert(1)"></iframe>',
  '<body onload=alert(1)>',
  '<input autofocus onfocus=alert(1)>',
  '<details open ontoggle=alert(1)>',
  '<video><source onerror=alert(1)></video>',
  '<a href="javascript:alert(1)">x</a>',
  '<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>',
  '<template><img src=x onerror=alert(1)></template>',
  '<style>*{display:none}</style>',
  '<base href="//evil.example/">',
  '<meta http-equiv=refresh content="0;url=about:blank">',
  '<form action="//evil.example/"><button>x</button></form>',
  '<object data="javascript:alert(1)"></object>',
  '<embed src="data:text/html,<script>alert(1)</script>">',
  '<marquee onstart=alert(1)>x</marquee>',
  '"><script>alert(1)</script>',
  "'-alert(1)-'",
  '</p></li></ol></main><h1>gone</h1>',
  '<!--<img src="--><img src=x onerror=alert(1)>',
  '&lt;b&gt;&amp;&#x3c;script&#x3e;',
  '{{constructor.constructor("alert(1)")()}}',
  '${alert(1)}',
  '</textarea><script>alert(1)</script>',
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
  '\u202Eevil\u202C <bdo dir=rtl>x</bdo>',
];

/** @type {import('./server.js').Server} */
let server;
/** @type {Browser} */
let browser;

before(async () => {
  server = await startServer(['serve']);
  browser = await Browser.launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});
beforeEach(() => {
  browser.troubles = [];
});

const messageField = (/** @type {Page} */ page) => page.getByLabel('Message', { exact: true });

async function openChat() {
  const page = await browser.open(`${server.url}chat`);
  await connected(page);
  return page;
}

/**
 * @param {Page} page
 * @param {string} name
 * @param {string} text
 */
async function say(page, name, text) {
  await page.getByLabel('Name').fill(name);
  await messageField(page).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

/**
 * The text of the newest message.
 * @param {Page} page
 * @param {string} text
 */
async function newest(page, text) {
  await eventually(async () => (await page.locator('.message-text').last().textContent({ timeout: 500 }).catch(() => null)) === text, `the newest message is ${text.slice(0, 60)}`);
}

test('two windows see each other’s messages, and each knows its own', async () => {
  const [ann, ben] = [await openChat(), await openChat()];
  await say(ann, 'ann', 'hello from ann');
  await newest(ben, 'hello from ann');
  await say(ben, 'ben', 'hello from ben');
  await newest(ann, 'hello from ben');
  assert.deepEqual(await ann.locator('.message-name').allTextContents(), ['ann', 'ben']);
  assert.deepEqual(await ann.locator('.message.mine .message-text').allTextContents(), ['hello from ann']);
  assert.deepEqual(await ben.locator('.message.mine .message-text').allTextContents(), ['hello from ben']);
  const stamp = await ben.locator('time').last().getAttribute('datetime');
  assert.ok(Math.abs(Date.parse(stamp ?? '') - Date.now()) < 60_000, `the time is now: ${stamp}`);

  await say(ben, 'ann', 'I only say that I am ann');
  await newest(ann, 'I only say that I am ann');
  assert.equal(await ann.locator('.message.mine').count(), 1, 'the same name does not make it mine');

  await ann.reload();
  await newest(ann, 'I only say that I am ann');
  assert.deepEqual(await ann.locator('.message.mine .message-text').allTextContents(), ['hello from ann'], 'still mine after reloading');
  assert.equal(await ann.getByLabel('Name').inputValue(), 'ann', 'the name is remembered');
  assert.deepEqual(browser.troubles, []);
});

test('names and texts are shown as text, whatever they are', async () => {
  const [sender, reader] = [await openChat(), await openChat()];
  const census = () => [...document.querySelectorAll('*')].map((node) => node.localName).filter((name) => !['li', 'p', 'bdi', 'span', 'time'].includes(name)).sort().join();
  const elements = await reader.evaluate(census);
  await sender.evaluate(async ({ url, texts }) => {
    const socket = new WebSocket(url);
    await new Promise((resolve) => { socket.onopen = resolve; });
    for (const text of texts) socket.send(JSON.stringify({ user: text.slice(0, 40), text }));
  }, { url: `${server.ws}/chat`, texts: HOSTILE });
  await newest(reader, HOSTILE.at(-1) ?? '');
  assert.deepEqual((await reader.locator('.message-text').allTextContents()).slice(-HOSTILE.length), HOSTILE);
  assert.equal(await reader.evaluate(census), elements, 'no element came out of a text');
  assert.equal(await reader.locator('.message-text *, .message-name *').count(), 0);
  assert.deepEqual(browser.troubles, []);
});

test('long, strange and many texts leave the page in shape', async () => {
  const page = await openChat();
  await page.setViewportSize({ width: 360, height: 640 });
  for (const text of ['x'.repeat(2000), 'ﷺ'.repeat(500), 'שלום '.repeat(40), 'e\u0301\u0302\u0303'.repeat(200), 'one\ntwo\n\nthree']) {
    await say(page, 'W'.repeat(40), text);
    await newest(page, text.trim());
  }
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out sideways');
  assert.ok(await page.getByRole('log').evaluate((log) => log.scrollWidth <= log.clientWidth), 'nor inside the log');
  for (const field of [messageField(page), page.getByLabel('Name')]) assert.ok(await field.isVisible());
  assert.ok(await page.getByRole('log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 60), 'follows the newest');

  await page.getByRole('log').evaluate((log) => { log.scrollTop = 0; });
  const other = await openChat();
  await say(other, 'ben', 'below');
  await page.getByRole('button', { name: 'New messages' }).waitFor();
  assert.equal(await page.getByRole('log').evaluate((log) => log.scrollTop), 0, 'somebody who reads above is left there');
  await page.getByRole('button', { name: 'New messages' }).click();
  assert.ok(await page.getByText('below', { exact: true }).isVisible());
  assert.deepEqual(browser.troubles, []);
});

test('a refusal is shown and the text is given back', async () => {
  const page = await openChat();
  await page.getByLabel('Name').evaluate((field) => field.removeAttribute('maxlength'));
  await say(page, 'n'.repeat(41), 'kept');
  await page.getByRole('alert').filter({ hasText: 'The server said' }).waitFor();
  assert.equal(await messageField(page).inputValue(), 'kept');
  await say(page, 'ann', 'accepted now');
  await newest(page, 'accepted now');
  assert.deepEqual(browser.troubles, []);
});

test('everything works with the keyboard alone', async () => {
  const page = await openChat();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'text', 'ready to write');
  await page.keyboard.type('first line');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('second line');
  await page.keyboard.press('Enter');
  await newest(page, 'first line\nsecond line');
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('Ødegård');
  await page.keyboard.press('Tab');
  await page.keyboard.type('by Tab and Enter');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Send');
  await page.keyboard.press('Enter');
  await newest(page, 'by Tab and Enter');
  assert.equal(await page.locator('.message-name').last().textContent(), 'Ødegård');
  assert.deepEqual(browser.troubles, []);
});

test('messages of a wrong shape do not break the page', async () => {
  const page = await browser.open(`${server.url}chat`, async (window) => {
    await window.routeWebSocket(/\/chat$/, (route) => {
      for (const wrong of ['', 'x', '[]', 'null', '7', '{}', '{"msg":7}', '{"msg":[null,7,{},{"user":{},"text":[]}]}', '{"msg":[{"user":"a","text":"b","time":"soon"}]}', '{"error":{}}']) route.send(wrong);
      route.send(Buffer.from([0, 255]));
      route.send('{"msg":[{"user":"ann","text":"well","time":1e300},{"user":"ann","text":"formed","time":1732147200000}]}');
    });
  });
  await newest(page, 'formed');
  assert.deepEqual(await page.locator('.message-text').allTextContents(), ['well', 'formed']);
  assert.deepEqual(browser.troubles, []);
});

test('the list is a window that slides', async () => {
  /** @type {import('playwright-core').WebSocketRoute | undefined} */
  let wire;
  const page = await browser.open(`${server.url}chat`, (window) => window.routeWebSocket(/\/chat$/, (route) => {
    wire = route;
    route.send('{"msg":[]}');
  }));
  await connected(page);
  const state = (/** @type {number} */ from, /** @type {number} */ to) => wire?.send(JSON.stringify({ msg: Array.from({ length: to - from }, (_, index) => ({ user: 'u', text: String(from + index), time: 1732147200000 + from + index })) }));
  const texts = () => page.locator('.message-text').allTextContents();
  state(0, 100);
  await newest(page, '99');
  await page.locator('.message').nth(50).evaluate((row) => { row.dataset.kept = 'yes'; });
  state(3, 103);
  await newest(page, '102');
  assert.equal((await texts()).length, 100);
  assert.equal(await page.locator('[data-kept] .message-text').textContent(), '50', 'what stays is not made anew');
  assert.ok(await page.locator('.message-name').first().isVisible(), 'the first row has its name');
  state(200, 202);
  await newest(page, '201');
  assert.deepEqual(await texts(), ['200', '201']);
  wire?.send('{"msg":[]}');
  await page.getByText('Still water.').waitFor();
  assert.deepEqual(browser.troubles, []);
});
