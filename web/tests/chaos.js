/**
 * Chaos for the transports: publishers and subscribers on the JavaScript client, each behind a hostile proxy of its own whose manners
 * change at random, so that everybody is driven from one transport to the next. What they see goes to `sockeye-judge`.
 *
 *     node tests/chaos.js target/debug/sockeye-judge --publications 100000 --seed 1
 *
 * SOCKEYE_BIN names the server, as for the tests. Status 0: every publication was acknowledged, everybody has everything, nothing was
 * `lost`, no anomaly.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { connect } from '../client/sockeye.js';
import { eventually } from './browser.js';
import { EventSource } from './event-source.js';
import { startProxy } from './hostile-proxy.js';
import { startServer } from './server.js';

/** @typedef {import('./hostile-proxy.js').Manners} Manners */
/** @typedef {import('../client/sockeye.js').ConnectOptions} ConnectOptions */

/** For how long all may take to arrive after the last publication. */
const PATIENCE_MS = 90_000;
const CONFIGURATION = `
[session]
commands_per_second = 1_000_000
commands_burst = 1_000_000
[hub]
keys = 10_000_000
catch_up_count = 100_000
catch_up_bytes = "64 MiB"
[namespaces.default]
anonymous = "publish"
history_size = 100_000
history_age = "1 h"
history_bytes = "64 MiB"
session_rate = 1_000_000
channel_rate = 1_000_000
`;
/** Kind twice, so that there are ways up as well as down. @type {Manners[]} */
const MOODS = [
  {}, {}, { upgrade: 403 }, { upgrade: 'cut' }, { upgrade: 'swallow' }, { upgrade: 403, buffer: true }, { upgrade: 502, cutAfterMs: 300 }, { upgrade: 400, cutAfterBytes: 2000 },
  { upgrade: 200, twice: true }, { cutAfterMs: 700 }, { delayMs: 5 },
];
/** @type {ConnectOptions[]} */
const LADDERS = [{}, { transports: ['websocket', 'events', 'poll'] }, { transports: ['stream', 'poll'] }, { transports: ['poll', 'websocket'] }];

Object.assign(globalThis, { EventSource });
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    publications: { type: 'string', default: '20000' },
    publishers: { type: 'string', default: '8' },
    subscribers: { type: 'string', default: '8' },
    channels: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1' },
  },
});
const [judgeProgram] = positionals;
if (!judgeProgram) throw new Error('usage: node tests/chaos.js SOCKEYE-JUDGE [--publications N] [--seed N]');
const publications = Number(values.publications);
const names = Array.from({ length: Number(values.channels) }, (_, number) => `chaos-${number}`);
const random = dice(Number(values.seed));

const began = Date.now();
const folder = await mkdtemp(join(tmpdir(), 'sockeye-chaos-'));
await writeFile(join(folder, 'sockeye.toml'), CONFIGURATION);
await writeFile(join(folder, 'rules.json'), JSON.stringify({ channels: { epochs: 'fixed' } }));
const server = await startServer(['serve', '--config', join(folder, 'sockeye.toml')]);
const judge = spawn(judgeProgram, ['--rules', join(folder, 'rules.json')], { stdio: ['pipe', 'inherit', 'inherit'] });
const judged = once(judge, 'close');
/** @type {Map<string, number>} the greatest offset that anybody was told, by channel */
const ends = new Map();
/** @type {Map<string, number>} */
const switches = new Map();
let [acknowledged, lost, number] = [0, 0, 0];

const subscribers = await Promise.all(Array.from({ length: Number(values.subscribers) }, (_, index) => subscriber(index + 1)));
const publishers = await Promise.all(Array.from({ length: Number(values.publishers) }, (_, index) => publisher(100 + index)));
const progress = setInterval(() => console.log(`${since()} s: ${acknowledged} of ${publications} acknowledged`), 10_000);
const moods = [...subscribers, ...publishers].map(({ proxy }) => moody(proxy));
await Promise.all(publishers.map(({ run }) => run()));
for (const stop of moods) stop();
await eventually(() => subscribers.every(({ offsets }) => names.every((name) => (offsets.get(name) ?? 0) >= (ends.get(name) ?? 0))), 'everybody has everything', PATIENCE_MS)
  .catch((error) => console.error(String(error)));
clearInterval(progress);
saw(0, 'settled');
judge.stdin.end();
const [status] = await judged;
for (const { client, proxy } of [...subscribers, ...publishers]) {
  client.close();
  await proxy.stop();
}
await server.stop();
await rm(folder, { recursive: true });
console.log(`${acknowledged} acknowledged in ${since()} s; connections by transport: ${[...switches].map(([name, count]) => `${name} ${count}`).join(', ')}; ${lost} lost; judge: ${status}`);
process.exit(status === 0 && lost === 0 && acknowledged >= publications ? 0 : 1);

/** A client behind a proxy of its own. @param {number} actor */
async function visitor(actor) {
  const proxy = await startProxy(server.port);
  const client = connect(`${proxy.ws}/ws`, { WebSocket, climbAfter: 500, maxQueued: 5_000, ...LADDERS[actor % LADDERS.length] });
  client.onstate = () => {
    if (client.transport) switches.set(client.transport, (switches.get(client.transport) ?? 0) + 1);
  };
  return { proxy, client };
}

/** @param {number} actor */
async function subscriber(actor) {
  const { proxy, client } = await visitor(actor);
  /** @type {Map<string, number>} */
  const offsets = new Map();
  for (const channel of names) {
    saw(actor, { subscribing: { channel } });
    const room = client.subscribe(channel);
    const position = await room.ready;
    saw(actor, { subscribed: { channel, position, catch_up: 0 } });
    room.onmessage = ({ data, epoch, offset }) => {
      saw(actor, { delivered: { channel, position: { epoch, offset }, id: data.id, body: fingerprint(data), path: 'live' } });
      offsets.set(channel, offset ?? 0);
    };
    room.onlost = ({ to, reason }) => {
      lost += 1;
      saw(actor, { lost: { channel, position: to, reason } });
    };
    room.onend = ({ error }) => error && saw(actor, { ended: { channel } });
  }
  return { proxy, client, offsets };
}

/** One publication on its way in each channel. @param {number} actor */
async function publisher(actor) {
  const { proxy, client } = await visitor(actor);
  let sent = 0;
  const lane = async (/** @type {string} */ channel) => {
    while (number < publications) {
      number += 1;
      const id = actor * 2 ** 32 + ++sent;
      const data = { id, text: 'chaos' };
      const key = id.toString(16);
      saw(actor, { publishing: { channel, id, body: fingerprint(data), key } });
      try {
        const position = await client.publish(channel, data, { key });
        acknowledged += 1;
        ends.set(channel, Math.max(ends.get(channel) ?? 0, position?.offset ?? 0));
        saw(actor, { published: { id, position } });
      } catch (error) {
        console.error(`publication ${key} to ${channel}: ${error}`);
        saw(actor, { unknown: { id } });
      }
    }
  };
  return { proxy, client, run: () => Promise.all(names.map(lane)) };
}

/** Another mood every now and then, and sometimes everything falls at once. @param {import('./hostile-proxy.js').Proxy} proxy @returns {() => void} stops, kindly */
function moody(proxy) {
  /** @type {NodeJS.Timeout} */
  let timer;
  const change = () => {
    proxy.manners = MOODS[Math.floor(random() * MOODS.length)] ?? {};
    if (random() < 0.7) proxy.cut();
    // Some last long enough for a better transport to be taken.
    timer = setTimeout(change, 500 + random() ** 2 * 14_000);
  };
  timer = setTimeout(change, random() * 3000);
  return () => {
    clearTimeout(timer);
    proxy.manners = {};
  };
}

/** @param {number} actor @param {object | string} what */
function saw(actor, what) {
  judge.stdin.write(`${JSON.stringify({ at: Date.now() - began, actor, what })}\n`);
}

/** Anything that all recorders agree on. @param {unknown} data */
function fingerprint(data) {
  let hash = 0x811c9dc5;
  for (const letter of JSON.stringify(data)) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  return hash >>> 0;
}

function since() {
  return Math.round((Date.now() - began) / 1000);
}

/** The same with the same seed. @param {number} seed @returns {() => number} from 0 up to, not including, 1 */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
