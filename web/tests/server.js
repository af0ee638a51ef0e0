/** Starts and stops the program under test: `SOCKEYE_BIN`, or the release build of this repository. By its own process id, and bounded in time. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const START_WITHIN_MS = 15_000;
/** The server drains for at most five seconds; after this it is killed. */
const STOP_WITHIN_MS = 8_000;
/** Nothing here runs longer than this, whatever a test forgets. */
const LIFE_MS = 5 * 60_000;

const program = process.env.SOCKEYE_BIN ?? fileURLToPath(new URL('../../target/release/sockeye', import.meta.url));

/**
 * @typedef {object} Server
 * @property {number} port
 * @property {string} url with a slash at the end
 * @property {string} ws the same for WebSocket, without one
 * @property {() => Promise<void>} stop
 * @property {() => Promise<void>} kill at once, without a word to anybody
 */

/**
 * @param {string[]} command such as `['serve']` or `['demo', 'chat']`
 * @param {number} [port] 0 for any free one
 * @returns {Promise<Server>}
 */
export async function startServer(command, port = 0) {
  const child = spawn(program, [...command, '--listen', `127.0.0.1:${port}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close').catch(() => undefined);
  const life = setTimeout(() => child.kill('SIGKILL'), LIFE_MS);
  life.unref();
  void ended.then(() => clearTimeout(life));
  const stop = async () => {
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
    child.kill('SIGTERM');
    await ended;
    clearTimeout(late);
  };
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  try {
    const listening = await listeningPort(child);
    return { port: listening, url: `http://127.0.0.1:${listening}/`, ws: `ws://127.0.0.1:${listening}`, stop, kill };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * @param {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, import('node:stream').Readable>} child
 * @returns {Promise<number>}
 */
function listeningPort(child) {
  return new Promise((resolve, reject) => {
    let said = '';
    const fail = (/** @type {string} */ why) => reject(new Error(`${program} ${why}; it said: ${said}`));
    const late = setTimeout(() => fail('did not say where it listens in time'), START_WITHIN_MS);
    const read = (/** @type {Buffer} */ chunk) => {
      said += chunk.toString();
      const port = /listening on http:\/\/[^\s/]*:(\d+)\//.exec(said)?.[1];
      if (!port) return;
      clearTimeout(late);
      resolve(Number(port));
    };
    child.stdout.on('data', read);
    child.stderr.on('data', (chunk) => { said += chunk.toString(); });
    child.once('error', (error) => {
      clearTimeout(late);
      fail(`did not start: ${error.message}`);
    });
    child.once('close', (status) => {
      clearTimeout(late);
      fail(`ended with status ${status}`);
    });
  });
}
