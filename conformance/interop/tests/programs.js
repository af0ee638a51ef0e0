/** Starts and stops the programs of these tests, each by its own process id and bounded in time. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = new URL('../../../', import.meta.url);
const PEERS = new URL('../peers/', import.meta.url);

export const SOCKEYE = process.env.SOCKEYE_BIN ?? fileURLToPath(new URL('target/release/sockeye', ROOT));
const PYTHON = process.env.SOCKEYE_PYTHON ?? 'python3';
export const INTEROP_CLIENT =
  process.env.SOCKEYE_INTEROP_CLIENT ?? fileURLToPath(new URL('target/release/examples/interop_client', ROOT));

/** Around each change of the length's form on the wire, and past every buffer. */
export const SIZES = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 8 << 20];

const START_WITHIN_MS = 15_000;
/** The server drains for at most five seconds. */
const STOP_WITHIN_MS = 8_000;
const RUN_WITHIN_MS = 60_000;

/**
 * @typedef {object} Peer a running server
 * @property {number} port
 * @property {string} ws its address for WebSocket, without a slash at the end
 * @property {string} wss the same with TLS, where the server was told to
 * @property {string} http the same for HTTP
 * @property {string} https
 * @property {() => Promise<number | null>} stop with SIGTERM; gives the exit status
 */

/** @typedef {{ status: number | null, stdout: string, stderr: string }} Outcome of a program that ran to its end */

/**
 * Our server with its limits raised for the largest of `SIZES`.
 * @param {string[]} [options]
 */
export function startEcho(options = ['--max-message', '16MiB']) {
  return start(SOCKEYE, ['demo', 'echo', '--listen', '127.0.0.1:0', ...options]);
}

export function startServe() {
  return start(SOCKEYE, ['serve', '--listen', '127.0.0.1:0']);
}

/**
 * npm `ws` with compression on these terms.
 * @param {import('ws').PerMessageDeflateOptions} terms
 */
export function startWs(terms) {
  return start(process.execPath, [fileURLToPath(new URL('echo-ws.js', PEERS)), JSON.stringify(terms)]);
}

/**
 * @typedef {object} Certificate the files of a certificate for localhost and 127.0.0.1
 * @property {string} cert
 * @property {string} key
 * @property {string} ca of the authority that signed it, in nobody's store
 * @property {() => Promise<void>} remove
 */

/** @returns {Promise<Certificate>} */
export async function makeCertificate() {
  const folder = await mkdtemp(join(tmpdir(), 'sockeye-certificate-'));
  const { status, stderr } = await run(PYTHON, ['-m', 'trustme', '--quiet', '--dir', folder, '--identities', 'localhost', '127.0.0.1']);
  if (status !== 0) throw new Error(`no certificate: ${stderr}`);
  return {
    cert: join(folder, 'server.pem'),
    key: join(folder, 'server.key'),
    ca: join(folder, 'client.pem'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The servers of other people that our client is tried on. */
export const PEER_SERVERS = {
  'npm ws': () => start(process.execPath, [fileURLToPath(new URL('echo-ws.js', PEERS))]),
  'Python websockets': () => start(PYTHON, [fileURLToPath(new URL('echo_websockets.py', PEERS))]),
};

/**
 * Starts a server that says `listening on http://HOST:PORT/`, or https.
 * @param {string} program
 * @param {string[]} options
 * @returns {Promise<Peer>}
 */
async function start(program, options) {
  const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'pipe'] });
  /** @type {Promise<number | null>} */
  const ended = new Promise((resolve) => {
    child.once('close', resolve);
    child.once('error', () => resolve(null));
  });
  const stop = async () => {
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
    child.kill('SIGTERM');
    const status = await ended;
    clearTimeout(late);
    return status;
  };
  let said = '';
  /** @type {number} */
  const port = await new Promise((resolve, reject) => {
    const fail = (/** @type {string} */ why) => reject(new Error(`${program} ${why}; it said: ${said}`));
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      fail('did not say where it listens in time');
    }, START_WITHIN_MS);
    const read = (/** @type {Buffer} */ chunk) => {
      said += chunk.toString();
      const found = /listening on (?:https?|ws):\/\/[^\s/]*:(\d+)\//.exec(said);
      if (!found) return;
      clearTimeout(late);
      resolve(Number(found[1]));
    };
    child.stdout.on('data', read);
    child.stderr.on('data', (chunk) => { said += chunk.toString(); });
    child.once('error', (error) => fail(`did not start: ${error.message}`));
    child.once('close', (status) => {
      clearTimeout(late);
      fail(`ended with status ${status}`);
    });
  });
  const at = `127.0.0.1:${port}`;
  return { port, ws: `ws://${at}`, wss: `wss://${at}`, http: `http://${at}`, https: `https://${at}`, stop };
}

/**
 * Runs a program to its end; its input is `input` and then the end of the file.
 * @param {string} program
 * @param {string[]} options
 * @param {string} [input]
 * @returns {Promise<Outcome>}
 */
export function run(program, options, input = '') {
  const running = open(program, options);
  running.write(input);
  running.end();
  return running.ended;
}

/**
 * Starts a program whose input stays open until `end`.
 * @param {string} program
 * @param {string[]} options
 */
export function open(program, options) {
  const child = spawn(program, options, { stdio: ['pipe', 'pipe', 'pipe'] });
  const late = setTimeout(() => child.kill('SIGKILL'), RUN_WITHIN_MS);
  const outcome = { status: /** @type {number | null} */ (null), stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk) => { outcome.stdout += chunk; });
  child.stderr.setEncoding('utf8').on('data', (chunk) => { outcome.stderr += chunk; });
  // A program that ends early leaves a broken pipe; its status tells the test.
  child.stdin.on('error', () => {});
  /** @type {Promise<Outcome>} */
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      clearTimeout(late);
      outcome.status = status;
      resolve(outcome);
    });
  });
  return {
    outcome,
    ended,
    write: (/** @type {string} */ text) => child.stdin.write(text),
    end: () => child.stdin.end(),
    kill: (/** @type {NodeJS.Signals} */ signal) => child.kill(signal),
  };
}

/**
 * Text of exactly this many bytes as UTF-8, with characters of one to four bytes where there is room.
 * @param {number} bytes
 */
export function textOf(bytes) {
  const unit = 'sockeye ä € 🐟 ';
  const length = Buffer.byteLength(unit);
  return unit.repeat(Math.floor(bytes / length)) + 'x'.repeat(bytes % length);
}

/** @param {number} bytes */
export function bytesOf(bytes) {
  const data = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i += 1) data[i] = (i * 31) % 251;
  return data;
}

/**
 * What to compare and to show instead of eight megabytes.
 * @param {string | Buffer} data
 */
export function digest(data) {
  return `${Buffer.byteLength(data)} bytes, sha256 ${createHash('sha256').update(data).digest('hex')}`;
}
