/** The cursors page in real windows. */

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Browser, connected, eventually } from './browser.js';
import { startServer } from './server.js';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('./server.js').Server} */
let server;
/** @type {Browser} */
let browser;
/** @type {Page[]} */
let pages = [];

before(async () => {
  server = await startServer(['serve']);
  browser = await Browser.launch({ hasTouch: true });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});
afterEach(async () => {
  await Promise.all(pages.map((page) => page.close()));
  pages = [];
  assert.deepEqual(browser.troubles, []);
});

/** @param {(page: Page) => Promise<void>} [prepare] */
async function openCursors(prepare) {
  const page = await browser.open(`${server.url}cursors`, prepare);
  pages.push(page);
  await connected(page);
  return page;
}

const others = (/** @type {Page} */ page) => page.locator('.cursor[data-sender]');

/**
 * Where an arrow points.
 * @param {import('playwright-core').Locator} arrow
 */
function place(arrow) {
  return arrow.evaluate((node) => {
    const { m41, m42 } = new DOMMatrix(getComputedStyle(node).transform);
    return { x: m41, y: m42 };
  });
}

/**
 * @param {import('playwright-core').Locator} arrow
 * @param {number} x
 * @param {number} y
 */
async function arrives(arrow, x, y) {
  let at = { x: Number.NaN, y: Number.NaN };
  await eventually(async () => {
    at = await place(arrow);
    return Math.hypot(at.x - x, at.y - y) < 1.5;
  }, `an arrow at ${x},${y}`).catch((error) => { throw new Error(`${error.message}, it is at ${at.x},${at.y}`); });
}

test('an arrow moves in the other window, smoothly, and vanishes when its owner leaves', async () => {
  const [ann, ben] = [await openCursors(), await openCursors()];
  await eventually(async () => (await others(ann).count()) === 1 && (await others(ben).count()) === 1, 'each sees the other before any move');
  await ann.getByText('2 people here').waitFor();

  await ann.mouse.move(100, 150);
  await arrives(others(ben), 100, 150);
  await arrives(ann.locator('.cursor.own'), 100, 150);
  await ben.evaluate(() => {
    const arrow = document.querySelector('.cursor[data-sender]');
    const seen = /** @type {number[]} */ ([]);
    Object.assign(window, { seen });
    const watch = () => {
      if (arrow) seen.push(new DOMMatrix(getComputedStyle(arrow).transform).m41);
      requestAnimationFrame(watch);
    };
    watch();
  });
  await ann.mouse.move(700, 500);
  await arrives(others(ben), 700, 500);
  const seen = await ben.evaluate(() => /** @type {number[]} */ (Reflect.get(window, 'seen')));
  assert.ok(seen.filter((x) => x > 120 && x < 680).length >= 3, 'seen on the way');

  const hues = await Promise.all([others(ben), ann.locator('.cursor.own')].map((arrow) => arrow.evaluate((node) => node.style.getPropertyValue('--hue'))));
  assert.equal(hues[0], hues[1], 'both windows draw it in the same colour');
  const name = await others(ben).locator('.cursor-name').textContent();
  assert.ok((await ann.getByRole('list', { name: 'People here' }).textContent())?.includes(`You: ${name}`), 'both call it by the same name');

  await ann.close();
  await eventually(async () => (await others(ben).count()) === 0, 'the arrow is gone');
  await ben.getByText('Only you here').waitFor();
});

test('the arrow keys move it, and Space makes a ripple', async () => {
  const [ann, ben] = [await openCursors(), await openCursors()];
  await others(ben).waitFor({ state: 'attached' });
  await ann.mouse.move(300, 300);
  await arrives(others(ben), 300, 300);
  for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowLeft', 'Shift+ArrowDown', 'ArrowUp']) await ann.keyboard.press(key);
  await arrives(others(ben), 316, 380);
  for (let press = 0; press < 15; press += 1) await ann.keyboard.press('Shift+ArrowLeft');
  await arrives(others(ben), 0, 380);
  await ann.keyboard.press('Space');
  await others(ben).locator('.ripple.running').waitFor({ state: 'attached' });
});

test('a finger moves it', async () => {
  const [ann, ben] = [await openCursors(), await openCursors()];
  await others(ben).waitFor({ state: 'attached' });
  await ann.touchscreen.tap(222, 444);
  await arrives(others(ben), 222, 444);
});

test('at most one message per frame, and none while the line is full', async () => {
  const page = await openCursors(async (window) => {
    await window.addInitScript(() => {
      const counts = { sent: 0, frames: 0, buffered: 0 };
      Object.assign(window, { counts });
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (data) {
        counts.sent += 1;
        send.call(this, data);
      };
      Object.defineProperty(WebSocket.prototype, 'bufferedAmount', { get: () => counts.buffered });
      const count = () => {
        counts.frames += 1;
        requestAnimationFrame(count);
      };
      requestAnimationFrame(count);
    });
  });
  const counts = () => page.evaluate(() => ({ .../** @type {{ sent: number, frames: number }} */ (Reflect.get(window, 'counts')) }));
  const wiggle = (/** @type {number} */ moves) => page.evaluate(async (number) => {
    for (let index = 0; index < number; index += 1) {
      dispatchEvent(new PointerEvent('pointermove', { clientX: index % 500, clientY: 99, isPrimary: true }));
      if (index % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 4));
    }
  }, moves);
  const start = await counts();
  await wiggle(3000);
  const end = await counts();
  assert.ok(end.sent > start.sent, 'something was sent');
  assert.ok(end.sent - start.sent <= end.frames - start.frames + 1, `${end.sent - start.sent} messages in ${end.frames - start.frames} frames`);

  await page.evaluate(() => Object.assign(Reflect.get(window, 'counts'), { buffered: 10 * 1024 + 1 }));
  await page.waitForTimeout(100);
  const full = await counts();
  await wiggle(500);
  await page.waitForTimeout(100);
  assert.equal((await counts()).sent, full.sent, 'quiet while more than 10 KiB wait');
  await page.evaluate(() => Object.assign(Reflect.get(window, 'counts'), { buffered: 10 * 1024 }));
  await eventually(async () => (await counts()).sent > full.sent, 'the last place is told once the line is free');
});

test('a cursor outside this window waits at its edge', async () => {
  const page = await openCursors();
  await page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve(socket.send('{"x":5000,"y":-1e300}'));
  }), `${server.ws}/cursors`);
  await page.locator('.cursor.outside').waitFor();
  const at = await place(page.locator('.cursor.outside'));
  assert.ok(at.x > 800 && at.x < 900 && at.y === 0, JSON.stringify(at));
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out sideways');
});

test('messages of a wrong shape do not break the page, and a stolen tag does not make somebody else us', async () => {
  let own = '';
  const page = await openCursors((window) => window.routeWebSocket(/\/cursors$/, (route) => {
    route.onMessage((data) => {
      if (data === '{}') return route.send('{"error":"expected finite numbers x and y"}');
      if (own) return;
      own = String(data);
      for (const wrong of ['', '[]', 'null', '{}', '{"x":1,"y":2}', '{"sender":"s","gone":"yes"}', '{"sender":{},"x":1,"y":1}', '{"sender":"never here","gone":true}']) route.send(wrong);
      route.send(Buffer.from([1, 2, 3]));
      route.send(JSON.stringify({ ...JSON.parse(own), sender: 'us', color: 10 }));
      route.send(JSON.stringify({ ...JSON.parse(own), x: 77, y: 88, sender: '<img src=x onerror=alert(1)>', color: 1e9 }));
      for (let index = 0; index < 1000; index += 1) route.send(JSON.stringify({ x: index, y: index, sender: `s${index}`, color: index }));
      route.send('{"error":"<b>no</b>"}');
    });
  }));
  await page.getByRole('alert').filter({ hasText: '<b>no</b>' }).waitFor();
  assert.equal(await others(page).count(), 300, 'a crowd has a limit');
  await arrives(others(page).first(), 77, 88);
  await page.getByText('301 people here').waitFor();
});
