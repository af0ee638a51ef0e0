/** The dot: green while connected, red when the server is gone, green again when it is back. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser, FAILED_ATTEMPT, connected, eventually } from './browser.js';
import { startServer } from './server.js';

/** @typedef {import('playwright-core').Page} Page */

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

/** @param {Page} page */
async function dotColour(page) {
  const colour = await page.locator('.dot').evaluate((dot) => getComputedStyle(dot).backgroundColor);
  const [red = 0, green = 0] = colour.match(/\d+/g)?.map(Number) ?? [];
  return green > red ? 'green' : 'red';
}

test('red when the server stops, green when it comes back, on every page', async () => {
  const chat = await browser.open(`${server.url}chat`);
  const pages = [chat, await browser.open(`${server.url}cursors`), await browser.open(`${server.url}echo`)];
  for (const page of pages) {
    await connected(page);
    assert.equal(await dotColour(page), 'green');
    assert.match((await page.getByRole('status').first().textContent()) ?? '', /^Connected/);
  }

  await server.stop();
  for (const page of pages) {
    await eventually(async () => (await dotColour(page)) === 'red', 'the dot is red');
    await eventually(async () => /Reconnecting/.test((await page.getByRole('status').first().textContent()) ?? ''), 'the status says so');
  }

  const field = chat.getByLabel('Message', { exact: true });
  await field.fill('written while away');
  await field.press('Enter');
  await chat.getByRole('alert').filter({ hasText: 'Not connected' }).waitFor();
  assert.equal(await field.inputValue(), 'written while away', 'nothing is lost');

  server = await startServer(['serve'], server.port);
  for (const page of pages) await eventually(async () => (await dotColour(page)) === 'green', 'the dot is green again', 30_000);
  await field.press('Enter');
  await chat.locator('.message.mine').filter({ hasText: 'written while away' }).waitFor();

  const unexpected = browser.troubles.filter((trouble) => !FAILED_ATTEMPT.test(trouble));
  assert.deepEqual(unexpected, [], 'only the browser’s own word on failed attempts');
});
