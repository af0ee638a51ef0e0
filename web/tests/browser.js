/** Chromium for the tests: one browser per test file, each window watched for errors that nobody expected. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').BrowserContextOptions} ContextOptions */

export const WAIT_MS = 10_000;
/** The browser's own word on an attempt that led nowhere, by WebSocket or, after a few of those, by HTTP. */
export const FAILED_ATTEMPT = /WebSocket connection to .* failed|net::ERR_CONNECTION_REFUSED/;

export class Browser {
  #context;
  #folder;
  /** @type {string[]} what went wrong in any window: exceptions, console errors, violations of the content security policy, dialogs */
  troubles = [];

  /**
   * @param {import('playwright-core').BrowserContext} context
   * @param {string} folder
   */
  constructor(context, folder) {
    this.#context = context;
    this.#folder = folder;
  }

  /** @param {ContextOptions} [options] */
  static async launch(options = {}) {
    const folder = await mkdtemp(join(tmpdir(), 'sockeye-browser-'));
    const context = await chromium.launchPersistentContext(folder, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      // A page that a test itself hands to the browser comes from no address, and would not be let through to this machine's.
      args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking', '--disable-features=LocalNetworkAccessChecks'],
      viewport: { width: 900, height: 700 },
      ...options,
    });
    context.setDefaultTimeout(WAIT_MS);
    return new Browser(context, folder);
  }

  /**
   * @param {string} url
   * @param {(page: Page) => Promise<void>} [prepare] before the page is loaded
   * @returns {Promise<Page>}
   */
  async open(url, prepare) {
    const page = await this.#context.newPage();
    page.on('pageerror', (error) => this.troubles.push(`exception: ${error.message}`));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.troubles.push(`console: ${message.text()}`);
    });
    page.on('dialog', (dialog) => {
      this.troubles.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`));
    });
    await prepare?.(page);
    await page.goto(url);
    return page;
  }

  async close() {
    await this.#context.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/**
 * Until the page's own status says it is connected.
 * @param {Page} page
 */
export async function connected(page) {
  await page.locator('.status[data-state="open"]').waitFor();
}

/**
 * Asks again and again until the answer is yes.
 * @param {() => Promise<boolean> | boolean} ask
 * @param {string} what
 * @param {number} [withinMs]
 */
export async function eventually(ask, what, withinMs = WAIT_MS) {
  const end = Date.now() + withinMs;
  while (!(await ask())) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
