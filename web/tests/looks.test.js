/** Every page, light and dark, on a phone and a desktop: no errors, no policy violations, nothing sticking out, and text that can be read (WCAG AA). */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser, connected, eventually } from './browser.js';
import { startServer } from './server.js';

const PATHS = ['', 'echo', 'chat', 'cursors'];

/** @type {import('./server.js').Server} */
let server;

before(async () => {
  server = await startServer(['serve']);
});
after(() => server?.stop());

/**
 * The contrast of each piece of text with what it stands on, where that is a plain colour.
 * Runs in the page; colours of any notation are read back as pixels.
 */
function poorContrast() {
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const pixel = (/** @type {string} */ colour) => {
    if (!context) throw new Error('no canvas');
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (/** @type {number[]} */ [red = 0, green = 0, blue = 0]) => {
    const linear = (/** @type {number} */ value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  };
  const ground = (/** @type {Element | null} */ node) => {
    for (let at = node; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      const colour = pixel(style.backgroundColor);
      if (colour[3] === 255) return colour;
      if (style.backgroundImage !== 'none') return undefined;
    }
    return pixel(getComputedStyle(document.body).backgroundColor);
  };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const ownText = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.textContent?.trim());
    const isField = node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement;
    if ((!ownText && !isField) || !node.checkVisibility() || node.localName === 'script' || node.closest('noscript')) continue;
    const under = ground(node);
    if (!under) continue;
    const [high = 0, low = 0] = [luminance(pixel(getComputedStyle(node).color)), luminance(under)].sort((left, right) => right - left);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push(`${node.localName}.${node.className} "${node.textContent?.trim().slice(0, 20)}" ${ratio.toFixed(2)}`);
  }
  return poor;
}

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  for (const viewport of [{ width: 360, height: 740 }, { width: 1280, height: 800 }]) {
    test(`${colorScheme}, ${viewport.width} pixels wide`, async () => {
      const browser = await Browser.launch({ colorScheme, viewport, reducedMotion: colorScheme === 'dark' ? 'reduce' : 'no-preference' });
      try {
        for (const path of PATHS) {
          const page = await browser.open(server.url + path);
          await connected(page);
          if (path === '') {
            await page.getByRole('button', { name: 'Subscribe' }).click();
            await page.getByLabel('Text or JSON').fill('upstream'.repeat(40));
            await page.keyboard.press('Enter');
            await page.locator('.events li').filter({ hasText: 'the server has it' }).waitFor();
          }
          if (path === 'chat') {
            for (const name of ['ann', 'ben', 'cy', 'dora', 'eve']) {
              await page.getByLabel('Name').fill(name);
              await page.getByLabel('Message', { exact: true }).fill('hello');
              await page.keyboard.press('Enter');
            }
            await page.locator('.message.mine').nth(4).waitFor();
          }
          if (path === 'echo') {
            await page.getByRole('button', { name: 'Send text' }).click();
            await page.getByRole('button', { name: 'Send bytes' }).click();
            await page.locator('.reply[data-outcome="same"]').nth(1).waitFor();
          }
          assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `/${path} sticks out sideways`);
          assert.deepEqual(await page.evaluate(poorContrast), [], `/${path}`);
          const tooSmall = await page.evaluate(() => [...document.querySelectorAll('button, nav a, input:not([type=file])')].filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 24).map((node) => node.textContent));
          assert.deepEqual(tooSmall, [], `/${path}: targets are large enough`);
          const unnamed = await page.evaluate(() => [...document.querySelectorAll('input, textarea')].filter((node) => !(/** @type {HTMLInputElement} */ (node)).labels?.length).map((node) => node.id));
          assert.deepEqual(unnamed, [], `/${path}: every field has a label`);
          await page.close();
        }
        assert.deepEqual(browser.troubles, []);
      } finally {
        await browser.close();
      }
    });
  }
}

for (const width of [360, 390, 1280]) {
  test(`the cursors page, ${width} pixels wide: the choice of transport is readable, stays where it is, and nothing lies over words`, async () => {
    const browser = await Browser.launch({ viewport: { width, height: 800 } });
    try {
      const page = await browser.open(`${server.url}cursors`);
      await connected(page);
      const select = page.getByLabel('Transport');
      /** @type {unknown[]} */
      const places = [];
      for (const transport of ['websocket', 'stream', 'events', 'poll']) {
        await select.selectOption(transport);
        await page.locator(`#carrier[data-transport="${transport}"]`).waitFor();
        await page.getByText('You:').waitFor();
        places.push(await select.evaluate((node) => {
          const free = /** @type {HTMLElement} */ (node.cloneNode(true));
          free.style.cssText = 'position: fixed; width: max-content; max-width: none';
          node.after(free);
          const { x, y, width } = node.getBoundingClientRect();
          const isWhole = width >= free.getBoundingClientRect().width;
          free.remove();
          const { height } = /** @type {Element} */ (document.querySelector('#carrier')).getBoundingClientRect();
          return { x, y, width, isWhole, lines: Math.round(height / 22) };
        }));
      }
      assert.ok(/** @type {{ isWhole: boolean }} */ (places[0]).isWhole, 'no name of a transport is cut');
      for (const place of places) assert.deepEqual(place, places[0], 'nothing jumps');

      await page.evaluate(() => new Promise((resolve) => {
        const socket = new WebSocket(location.href.replace('http', 'ws'));
        socket.onopen = () => resolve(socket.send(JSON.stringify({ x: 40, y: innerHeight - 60 })));
      }));
      await page.locator('.cursor[data-sender]').waitFor({ state: 'attached' });
      /** What is seen at the middle of an element. @param {string} selector */
      const seenAt = (selector) => page.evaluate((selector) => {
        for (const node of document.querySelectorAll('body *')) if (node instanceof HTMLElement) node.style.pointerEvents = 'auto';
        const box = /** @type {Element} */ (document.querySelector(selector)).getBoundingClientRect();
        const seen = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        for (const node of document.querySelectorAll('body *')) if (node instanceof HTMLElement) node.style.pointerEvents = '';
        return seen?.closest('.own, .crowd, .cursor, .hint')?.className;
      }, selector);
      await eventually(async () => (await seenAt('.cursor[data-sender] .cursor-name')) === 'crowd', 'an arrow under the crowd is not over its words');
      await page.mouse.move(width / 4, 790);
      assert.match((await seenAt('.own .cursor-name')) ?? '', /own/, 'one’s own arrow is over everything');
      assert.deepEqual(browser.troubles, []);
    } finally {
      await browser.close();
    }
  });
}

test('a focused control can be seen', async () => {
  const browser = await Browser.launch();
  try {
    for (const path of PATHS) {
      const page = await browser.open(server.url + path);
      await connected(page);
      for (let press = 0; press < 30; press += 1) {
        await page.keyboard.press('Tab');
        const shown = await page.evaluate(() => {
          const node = document.activeElement;
          if (!node || node === document.body) return 'nothing';
          const outlined = [getComputedStyle(node), getComputedStyle(node, '::after')].some((style) => style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) >= 2);
          return outlined ? '' : `${node.localName} ${node.textContent?.trim().slice(0, 20)}`;
        });
        if (shown === 'nothing') break;
        assert.equal(shown, '', `/${path}`);
      }
      await page.close();
    }
  } finally {
    await browser.close();
  }
});
