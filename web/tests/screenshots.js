/** `node screenshots.js OUTDIR`: every page on a phone and a desktop, light and dark, with something going on; and `cursors.png` for the README. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Browser, connected } from './browser.js';
import { startServer } from './server.js';

/** @typedef {import('playwright-core').Page} Page */

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const SCHEMES = /** @type {const} */ (['light', 'dark']);
const TALK = [
  ['Grayling', 'Anyone else this far up the river?'],
  ['Ødegård', 'Just passed the second weir. Current is strong today.'],
  ['Ødegård', 'But the water is clear.'],
  ['מרים', 'שלום לכולם, אני כבר למעלה'],
  ['<b>Pike</b>', 'I am text, <img src=x onerror=alert(1)> and nothing else.'],
  ['Grayling', 'A word without an end: ' + 'upstream'.repeat(30)],
];

const out = process.argv[2];
if (!out) throw new Error('usage: node screenshots.js OUTDIR');
await mkdir(out, { recursive: true });

const server = await startServer(['serve']);
try {
  await fillRoom();
  for (const [device, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of SCHEMES) await shoot(device, viewport, colorScheme);
  }
  await readmePicture();
} finally {
  await server.stop();
}

/**
 * @param {string} device
 * @param {{ width: number, height: number }} viewport
 * @param {'light' | 'dark'} colorScheme
 */
async function shoot(device, viewport, colorScheme) {
  const browser = await Browser.launch({ viewport, colorScheme });
  const save = (/** @type {Page} */ page, /** @type {string} */ name, fullPage = false) =>
    page.screenshot({ path: join(out ?? '', `${name}-${device}-${colorScheme}.png`), fullPage });

  const index = await browser.open(server.url);
  await connected(index);
  await index.waitForTimeout(400);
  await save(index, 'index', true);
  await channel(index);
  await save(index, 'index-channel', true);

  const echo = await browser.open(`${server.url}echo`);
  await connected(echo);
  await save(echo, 'echo-empty', true);
  await echo.getByRole('button', { name: 'Send text' }).click();
  await echo.getByRole('button', { name: 'Send bytes' }).click();
  for (const length of ['0', '125', '65,536', '1 MiB']) await echo.getByRole('button', { name: length, exact: true }).click();
  await echo.waitForTimeout(500);
  await save(echo, 'echo', true);

  const chat = await browser.open(`${server.url}chat`);
  await connected(chat);
  await chat.getByLabel('Message', { exact: true }).fill('I can see you from the bridge. Keep to the left bank, it is calmer there.');
  await chat.keyboard.press('Enter');
  await chat.waitForTimeout(300);
  await save(chat, 'chat');

  const cursors = await browser.open(`${server.url}cursors`);
  await connected(cursors);
  await cursors.waitForTimeout(300);
  await save(cursors, 'cursors-alone');
  await company(cursors, viewport);
  await save(cursors, 'cursors');
  await browser.close();
}

/**
 * Something going on in the front page's channel.
 * @param {Page} page
 */
async function channel(page) {
  await page.getByRole('button', { name: 'Subscribe' }).click();
  for (const text of ['{"temperature": 21.5}', ...TALK.map(([, text]) => text ?? '')]) {
    await page.getByLabel('Text or JSON').fill(text);
    await page.keyboard.press('Enter');
  }
  await page.waitForTimeout(400);
}

/** Others in the room, each with a name of its own. */
async function fillRoom() {
  const browser = await Browser.launch();
  const page = await browser.open(`${server.url}chat`);
  await connected(page);
  for (const [name, text] of TALK) {
    await page.getByLabel('Name').fill(name ?? '');
    await page.getByLabel('Message', { exact: true }).fill(text ?? '');
    await page.keyboard.press('Enter');
  }
  await page.waitForTimeout(300);
  await browser.close();
}

/**
 * A few other people, on plain sockets in the same page, swimming in arcs while the picture is taken.
 * @param {Page} page
 * @param {{ width: number, height: number }} size
 */
async function company(page, size) {
  await page.evaluate(async ({ width, height }) => {
    const homes = [[0.16, 0.34], [0.76, 0.3], [0.38, 0.46], [0.84, 0.5], [0.48, 0.3]];
    for (const [index, [x = 0, y = 0]] of homes.entries()) {
      const socket = new WebSocket(location.href.replace('http', 'ws'));
      await new Promise((resolve) => { socket.onopen = resolve; });
      const started = performance.now();
      let rippled = false;
      setInterval(() => {
        const turn = ((performance.now() - started) / 1000) * (2.2 + index * 0.3) * (index % 2 ? -1 : 1) + index * 2;
        const at = { x: Math.round(x * width + Math.cos(turn) * width * 0.09), y: Math.round(y * height + Math.sin(turn) * height * 0.11) };
        const ripple = index === 2 && performance.now() - started > 700 && !rippled;
        rippled ||= ripple;
        socket.send(JSON.stringify({ ...at, ...(ripple && { ripple }) }));
      }, 16);
    }
  }, size);
  await page.mouse.move(size.width * 0.52, size.height * 0.74);
  await page.mouse.move(size.width * 0.62, size.height * 0.58, { steps: 20 });
  await page.waitForTimeout(700);
}

async function readmePicture() {
  const viewport = { width: 1200, height: 600 };
  const browser = await Browser.launch({ viewport, colorScheme: 'light' });
  const page = await browser.open(`${server.url}cursors`);
  await connected(page);
  await company(page, viewport);
  await page.screenshot({ path: join(out ?? '', 'cursors.png') });
  await browser.close();
}
