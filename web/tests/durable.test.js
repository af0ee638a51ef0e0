/** The ten-line page of the client's README: two people talk while the server is killed under them, and nothing is lost, doubled or out of order. */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Browser, FAILED_ATTEMPT } from './browser.js';
import { startServer } from './server.js';

/** @typedef {import('playwright-core').Page} Page */

const NAMES = ['Ann', 'Ben'];
const KILLS = 3;
/** Of each person in each round: so many before the server is killed, and so many while it is away. */
const BEFORE = 20;
const AWAY = 10;
const EACH = KILLS * (BEFORE + AWAY);
/** Pauses between attempts double, up to 20 s; the last of a few is far below that. */
const BACK_WITHIN_MS = 45_000;

const readme = await readFile(new URL('../client/README.md', import.meta.url), 'utf8');

/** @type {import('./server.js').Server} */
let server;
/** @type {Browser} */
let browser;
let folder = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sockeye-durable-'));
  await writeFile(join(folder, 'sockeye.toml'), block('toml'));
  server = await start();
  browser = await Browser.launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

test('a page of ten lines: everybody has every message once, in one order, however often the server is killed', async () => {
  assert.equal(block('html').split('<script')[1]?.split('</script>')[0]?.trim().split('\n').slice(1).length, 10, 'ten lines of script');
  const pages = await Promise.all(NAMES.map((name) => open(name)));
  for (const page of pages) await present(page, NAMES);

  const said = NAMES.map(() => 0);
  const speak = (/** @type {number} */ count) => Promise.all(pages.map(async (page, person) => {
    const first = said[person] ?? 0;
    said[person] = first + count;
    await page.evaluate(submit, Array.from({ length: count }, (_, index) => String(first + index)));
  }));

  for (let round = 0; round < KILLS; round += 1) {
    const [{ length: heard }] = /** @type {[string[]]} */ ([await lines(pages[0])]);
    await speak(BEFORE);
    await pages[0]?.waitForFunction(hasMoreThan, heard, { timeout: BACK_WITHIN_MS, polling: 5 });
    await server.kill();
    await speak(AWAY);
    server = await start(server.port);
  }

  for (const page of pages) await page.waitForFunction(hasMoreThan, NAMES.length * EACH - 1, { timeout: BACK_WITHIN_MS });
  const [ann = [], ben = []] = await Promise.all(pages.map(lines));
  assert.deepEqual(ann, ben, 'the same order for both');
  for (const name of NAMES) {
    const own = ann.filter((line) => line.startsWith(`${name}: `));
    assert.deepEqual(own, Array.from({ length: EACH }, (_, index) => `${name}: ${index}`), 'each once, as they were said');
  }
  assert.equal(ann.length, NAMES.length * EACH, 'and nothing else, such as a word about what is missing');
  for (const page of pages) await present(page, NAMES);

  const late = await open('Cy');
  await late.waitForFunction(hasMoreThan, 19);
  assert.deepEqual(await lines(late), ann.slice(-20), 'who comes later has the last twenty');
  for (const page of [...pages, late]) await present(page, [...NAMES, 'Cy']);

  const unexpected = browser.troubles.filter((trouble) => !FAILED_ATTEMPT.test(trouble));
  assert.deepEqual(unexpected, [], 'only the browser’s own word on failed attempts');
});

/** @param {number} [port] */
function start(port) {
  return startServer(['serve', '--config', join(folder, 'sockeye.toml')], port);
}

/**
 * The first block of the README in this language.
 * @param {string} language
 */
function block(language) {
  const found = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(readme)?.[1];
  if (!found) throw new Error(`the README has no ${language}`);
  return found;
}

/**
 * The README's page as if the server itself had it, opened by somebody of this name.
 * @param {string} name
 */
function open(name) {
  return browser.open(`${server.url}ten-lines`, async (page) => {
    await page.route('**/ten-lines', (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', body: block('html') }));
    await page.addInitScript((name) => {
      window.prompt = () => name;
    }, name);
  });
}

/**
 * Writes each text into the form and sends it. Runs in the page.
 * @param {string[]} texts
 */
function submit(texts) {
  const form = document.querySelector('form');
  const field = form?.querySelector('input');
  if (!form || !field) throw new Error('the page has no form');
  for (const text of texts) {
    field.value = text;
    form.requestSubmit();
  }
}

/**
 * Runs in the page.
 * @param {number} count
 */
function hasMoreThan(count) {
  return (document.querySelector('#log')?.textContent?.split('\n').length ?? 0) - 1 > count;
}

/** @param {Page | undefined} page */
async function lines(page) {
  return ((await page?.locator('#log').textContent()) ?? '').split('\n').slice(0, -1);
}

/**
 * Until exactly these are there.
 * @param {Page} page
 * @param {string[]} names
 */
async function present(page, names) {
  await page.waitForFunction((names) => document.querySelector('#who')?.textContent?.split(', ').sort().join() === names, [...names].sort().join(), { timeout: BACK_WITHIN_MS });
}
