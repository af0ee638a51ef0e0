/** Starts and stops the server: `SOCKEYE_BIN`, or the release build of this repository. By its own process id, and bounded in time. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const START_WITHIN_MS = 15_000;
/** The server drains for at most five seconds; after this it is killed. */
const STOP_WITHIN_MS = 8_000;
/** Nothing here runs longer than this, whatever a test forgets. */
const LIFE_MS = 4 * 60_000;

const SOCKEYE = process.env.SOCKEYE_BIN ?? fileURLToPath(new URL('../../../target/release/sockeye', import.meta.url));

/** @typedef {{ url: string, stop: () => Promise<void> }} Server its URL has no slash at the end */

/**
 * @param {string[]} command such as `['demo', 'sockjs']`
 * @returns {Promise<Server>}
 */
export async function start(command) {
  const child = spawn(SOCKEYE, [...command, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close').catch(() => undefined);
  const life = setTimeout(() => child.kill('SIGKILL'), LIFE_MS);
  life.unref();
  const stop = async () => {
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
    child.kill('SIGTERM');
    await ended;
    clearTimeout(late);
    clearTimeout(life);
  };
  let said = '';
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the server did not say where it listens in time: ${said}`)), START_WITHIN_MS);
    child.once('close', (status) => reject(new Error(`the server ended with status ${status}: ${said}`)));
    child.once('error', reject);
    child.stdout.on('data', (chunk) => {
      said += chunk;
      const found = /listening on (https?:\/\/[^\s/]+)\//.exec(said);
      if (!found) return;
      clearTimeout(late);
      resolve(found[1]);
    });
  });
  return { url, stop };
}

/**
 * A server of everything, with every transport. Its responses are long: after each the client waits for a fifth of a second
 * before it opens the next event source.
 * @param {string} folder for its configuration
 */
export async function startUsual(folder) {
  const config = join(folder, 'sockeye.toml');
  await writeFile(config, '[sockjs]\nscripts = true\nresponse_limit = "1 MiB"\n');
  return start(['serve', '--config', config]);
}

/**
 * Waits, but not for ever.
 * @template T
 * @param {Promise<T>} work
 * @param {number} [ms]
 * @returns {Promise<T>}
 */
export async function within(work, ms = 60_000) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms); });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
