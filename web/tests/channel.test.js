/** The front page's channel: two windows, text and JSON, who is there, what was; strangers stay text; what is said while the server is away. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser, FAILED_ATTEMPT } from './browser.js';
import { startServer } from './server.js';

/** @typedef {import('playwright-core').Page} Page */

const HOSTILE = '<img src=x onerror=alert(1)>';
const BACK_WITHIN_MS = 30_000;

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

test('two windows see each other, and what is published; who leaves is gone', async () => {
  const ann = await join('river', 'Ann');
  await who(ann, ['Ann']);
  const ben = await join('river', 'Ben');
  for (const page of [ann, ben]) await who(page, ['Ann', 'Ben']);
  await line(ann, 'join', 'Ben').waitFor();

  await publish(ann, 'Hello');
  for (const page of [ann, ben]) await line(page, 'message', 'Ann: Hello').waitFor();
  await line(ann, 'published', 'the server has it#1').waitFor();
  await publish(ben, '{ "temperature": 21.5 }');
  for (const page of [ann, ben]) await line(page, 'message', 'Ben: {"temperature":21.5}').waitFor();

  await ann.getByLabel('volatile').check();
  await publish(ann, 'quick');
  await line(ben, 'message', 'Ann: quick').waitFor();
  await line(ann, 'published', 'to those who are there now').waitFor();

  await ben.getByRole('button', { name: 'History' }).click();
  await line(ben, 'history', '2 of the newest').waitFor();
  const told = await line(ben, 'history', '').locator('.event-text').allTextContents();
  assert.deepEqual(told, ['Ben: {"temperature":21.5}', 'Ann: Hello', '2 of the newest'], 'without the volatile one, the newest first');

  await ben.getByRole('button', { name: 'Leave' }).click();
  await who(ann, ['Ann']);
  await line(ann, 'leave', 'Ben').waitFor();
  await ben.getByText('Subscribe to see who is there.').waitFor();
  await ben.getByRole('button', { name: 'Subscribe' }).waitFor();
  await Promise.all([ann.close(), ben.close()]);
  assert.deepEqual(browser.troubles, []);
});

test('names, channels and texts of strangers are text', async () => {
  const ann = await join(`${'a'.repeat(20)}-hostile`, 'Ann');
  const other = await join(`${'a'.repeat(20)}-hostile`, HOSTILE);
  for (const page of [ann, other]) await who(page, ['Ann', HOSTILE]);
  await publish(other, HOSTILE);
  await line(ann, 'message', `${HOSTILE}: ${HOSTILE}`).waitFor();
  await publish(other, JSON.stringify({ __proto__: null, html: HOSTILE, name: { toString: 1 } }));
  await line(ann, 'message', '{"html":').waitFor();
  for (const page of [ann, other]) assert.equal(await page.locator('.try img, .try script').count(), 0);
  await Promise.all([ann.close(), other.close()]);
  assert.deepEqual(browser.troubles, []);
});

test('what cannot be is said: no channel, nothing written, a name that is none', async () => {
  const page = await browser.open(server.url);
  const complaint = page.locator('#channel-notice');
  await page.getByRole('button', { name: 'Publish' }).click();
  await complaint.filter({ hasText: 'Please write something first.' }).waitFor();
  await page.getByLabel('Channel', { exact: true }).fill('nowhere:1');
  await page.getByRole('button', { name: 'Subscribe' }).click();
  await complaint.filter({ hasText: 'bad_channel' }).waitFor();
  await page.getByRole('button', { name: 'Subscribe' }).waitFor();
  assert.equal(await page.getByLabel('Channel', { exact: true }).isEditable(), true);
  await page.close();
  assert.deepEqual(browser.troubles, []);
});

test('while the server is away it is said, and what is published then arrives when it is back', async () => {
  const page = await join('weir', 'Ann');
  await who(page, ['Ann']);
  await server.kill();
  await page.getByText('No connection; these were there').waitFor();
  await publish(page, 'kept');
  await line(page, 'away', 'it is sent when there is one').waitFor();
  await page.getByLabel('volatile').check();
  await publish(page, 'gone');
  await line(page, 'away', 'a volatile one is gone').waitFor();
  server = await startServer(['serve'], server.port);
  await line(page, 'message', 'Ann: kept').waitFor({ timeout: BACK_WITHIN_MS });
  await page.getByText('One is there').waitFor();
  assert.equal(await line(page, 'message', 'kept').count(), 1);
  assert.equal(await line(page, 'message', 'gone').count(), 0);
  await page.close();
  assert.deepEqual(browser.troubles.filter((trouble) => !FAILED_ATTEMPT.test(trouble)), []);
});

/**
 * The front page, in this channel under this name.
 * @param {string} channel
 * @param {string} name
 */
async function join(channel, name) {
  const page = await browser.open(server.url);
  await page.getByLabel('Channel', { exact: true }).fill(channel);
  await page.getByLabel('Seen as').fill(name);
  await page.keyboard.press('Enter');
  await line(page, 'subscribed', channel).waitFor();
  return page;
}

/**
 * @param {Page} page
 * @param {string} text
 */
async function publish(page, text) {
  await page.getByLabel('Text or JSON').fill(text);
  await page.keyboard.press('Enter');
}

/**
 * Lines of the log of this kind with this text.
 * @param {Page} page
 * @param {string} kind
 * @param {string} hasText
 */
function line(page, kind, hasText) {
  return page.locator(`#events li[data-kind="${kind}"]`).filter({ hasText });
}

/**
 * Until exactly these are shown as there.
 * @param {Page} page
 * @param {string[]} names
 */
async function who(page, names) {
  await page.waitForFunction((names) => [...document.querySelectorAll('#members li')].map((chip) => chip.textContent).sort().join() === names, [...names].sort().join());
}
