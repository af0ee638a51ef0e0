/** The echo page and the front page. */

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Browser, connected, eventually } from './browser.js';
import { startServer } from './server.js';

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
afterEach(() => {
  assert.deepEqual(browser.troubles, []);
});

async function openEcho() {
  const page = await browser.open(`${server.url}echo`);
  await connected(page);
  return page;
}

/**
 * The newest reply, once it has come.
 * @param {import('playwright-core').Page} page
 * @param {number} nth how many there are then
 */
async function reply(page, nth) {
  await eventually(async () => (await page.locator('.reply[data-outcome="same"]').count()) === nth, `${nth} replies that are the same as sent`);
  const row = page.locator('.reply').first();
  return {
    kind: await row.locator('.reply-kind').textContent(),
    size: await row.locator('.reply-size').textContent(),
    trip: await row.locator('.reply-outcome').textContent(),
    text: await row.locator('.reply-text').textContent({ timeout: 200 }).catch(() => ''),
  };
}

test('text comes back, with its size and round trip', async () => {
  const page = await openEcho();
  const texts = ['hello', 'grüß dich, 鮭 🐟', '<img src=x onerror=alert(1)>', 'x'.repeat(70_000), ''];
  for (const [index, text] of texts.entries()) {
    await page.getByRole('textbox', { name: 'Text', exact: true }).fill(text);
    await page.getByRole('button', { name: 'Send text' }).click();
    const got = await reply(page, index + 1);
    assert.equal(got.kind, 'text');
    assert.equal(got.size, `${Buffer.byteLength(text).toLocaleString('en')} bytes`);
    assert.match(got.trip ?? '', /^(\d+\.\d|under 0\.1) ms$/);
    if (text.length < 200) assert.equal(got.text, text);
  }
  assert.equal(await page.locator('.replies img').count(), 0);
  assert.match((await page.locator('#summary').textContent()) ?? '', /last 5 replies/);
});

test('bytes come back, at every length of length', async () => {
  const page = await openEcho();
  await page.getByLabel('Bytes in hex').fill('00 ff 0x10');
  await page.getByLabel('Bytes in hex').press('Enter');
  assert.deepEqual({ ...(await reply(page, 1)), trip: '' }, { kind: 'binary', size: '3 bytes', trip: '', text: '00 ff 10' });
  const sizes = { 0: '0 bytes', 125: '125 bytes', 126: '126 bytes', '65,535': '65,535 bytes', '65,536': '65,536 bytes', '1 MiB': '1 MiB' };
  let nth = 1;
  for (const [name, size] of Object.entries(sizes)) {
    await page.getByRole('button', { name, exact: true }).click();
    nth += 1;
    const got = await reply(page, nth);
    assert.equal(got.kind, 'binary');
    assert.equal(got.size, size);
  }
  await page.getByLabel('A file').setInputFiles({ name: '<i>fish</i>.bin', mimeType: 'application/octet-stream', buffer: Buffer.from([1, 2, 3, 4]) });
  assert.equal((await reply(page, nth + 1)).text, '01 02 03 04');
  assert.equal(await page.locator('.reply-title').textContent(), '<i>fish</i>.bin');
});

test('hex that is none is refused here, with the reason', async () => {
  const page = await openEcho();
  await page.getByLabel('Bytes in hex').fill('5');
  await page.getByRole('button', { name: 'Send bytes' }).click();
  await page.getByRole('alert').filter({ hasText: 'not hex' }).waitFor();
  assert.equal(await page.getByLabel('Bytes in hex').getAttribute('aria-invalid'), 'true');
  assert.equal(await page.locator('.reply').count(), 0);
});

test('a reply that differs, and one that never comes, are called so', async () => {
  const page = await browser.open(`${server.url}echo`, (window) => window.routeWebSocket(/\/echo$/, (route) => {
    route.onMessage((data) => {
      if (data === 'lose') void route.close({ code: 1009, reason: 'too big' });
      else route.send(typeof data === 'string' ? `${data}!` : Buffer.from([...data.subarray(0, -1), 0]));
    });
  }));
  await connected(page);
  const send = async (/** @type {string} */ text) => {
    await page.getByRole('textbox', { name: 'Text', exact: true }).fill(text);
    await page.getByRole('textbox', { name: 'Text', exact: true }).press('Enter');
  };
  await send('wrong');
  await page.locator('.reply[data-kind="text"][data-outcome="different"]').waitFor();
  await page.getByRole('button', { name: '125', exact: true }).click();
  await page.locator('.reply[data-kind="binary"][data-outcome="different"]').waitFor();
  await send('lose');
  await page.locator('.reply[data-outcome="lost"]').waitFor();
  await page.getByRole('alert').filter({ hasText: '1009 too big' }).waitFor();
});

test('the front page shows this server’s addresses and leads to the demos, by keyboard', async () => {
  const page = await browser.open(server.url);
  await connected(page);
  await page.getByText(/It answers this page in .* ms/).waitFor();
  const addresses = await page.locator('.addresses code').allTextContents();
  assert.deepEqual(addresses.slice(0, 5), [...['ws', 'echo', 'chat', 'cursors'].map((path) => `${server.ws}/${path}`), `sockeye connect ${server.ws}/ws`]);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  const passed = [];
  for (let press = 0; press < 12 && passed.at(-1) !== '/cursors'; press += 1) {
    await page.keyboard.press('Tab');
    passed.push(await page.evaluate(() => document.activeElement?.getAttribute('href') ?? document.activeElement?.id));
  }
  assert.equal(passed[0], 'channel', 'what is skipped to comes first');
  assert.equal(passed.at(-1), '/cursors');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${server.url}cursors`);
  await connected(page);
});
