/**
 * The JavaScript client and the real server with a hostile proxy between them: on which transport it ends, that it loses nothing and
 * doubles nothing of a channel with history (by its offsets), and that it climbs back.
 */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { connect } from '../client/sockeye.js';
import { everythingArrives, opened, within } from '../client/tests/road.js';
import { eventually } from './browser.js';
import { startProxy } from './hostile-proxy.js';
import { startServer } from './server.js';

/** @typedef {import('./hostile-proxy.js').Manners} Manners */
/** @typedef {import('../client/sockeye.js').ConnectOptions} ConnectOptions */

const CONFIGURATION = `
[namespaces.chat]
anonymous = "publish"
history_size = 10_000
[hub]
catch_up_count = 10_000
`;

/** @type {import('./server.js').Server} */
let server;
let folder = '';
let channels = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sockeye-transports-'));
  await writeFile(join(folder, 'sockeye.toml'), CONFIGURATION);
  server = await startServer(['serve', '--config', join(folder, 'sockeye.toml')]);
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** @param {import('node:test').TestContext} t @param {Manners} manners @param {ConnectOptions} [options] */
async function road(t, manners, options = {}) {
  const proxy = await startProxy(server.port, manners);
  t.after(() => proxy.stop());
  const dial = () => {
    const client = connect(`${proxy.ws}/ws`, { WebSocket, ...options });
    t.after(() => client.close());
    return client;
  };
  return { proxy, dial, channel: `chat:${++channels}` };
}

/** @type {[string, Manners, string][]} */
const WAYS = [
  ['a kind proxy', {}, 'websocket'],
  ['a slow one', { delayMs: 100 }, 'websocket'],
  ['an upgrade refused with 403', { upgrade: 403 }, 'stream'],
  ['an upgrade refused with 400', { upgrade: 400 }, 'stream'],
  ['an upgrade answered with 200', { upgrade: 200 }, 'stream'],
  ['headers stripped', { strip: ['upgrade', 'connection', 'last-event-id', 'origin', 'cache-control', 'x-anything'] }, 'stream'],
  ['an upgrade that nobody answers', { upgrade: 'swallow' }, 'stream'],
  ['sockets cut right after the 101', { upgrade: 'cut' }, 'stream'],
  ['no upgrade, and answers held until they are whole', { upgrade: 403, buffer: true }, 'poll'],
  ['upgrades swallowed, and answers held', { upgrade: 'swallow', buffer: true }, 'poll'],
  ['no upgrade, and each POST made twice', { upgrade: 403, twice: true }, 'stream'],
];

for (const [name, manners, transport] of WAYS) {
  test(`${name}: ${transport}, and everything arrives`, async (t) => {
    const { dial, channel } = await road(t, manners);
    const client = dial();
    assert.equal(await opened(client), transport);
    await everythingArrives(client, 40, undefined, channel);
    assert.equal(client.transport, transport);
  });
}

for (const transport of /** @type {const} */ (['websocket', 'stream', 'poll'])) {
  for (const [name, manners] of /** @type {[string, Manners][]} */ ([['second', { cutAfterMs: 1000 }], ['400 bytes', { cutAfterBytes: 400 }]])) {
    test(`${transport}, cut after every ${name}: nothing is lost and nothing comes twice`, async (t) => {
      const { dial, channel } = await road(t, manners, { transports: [transport] });
      await everythingArrives(dial(), 120, () => new Promise((resolve) => setTimeout(resolve, 30)), channel);
    });
  }
}

test('transports change and change again while others publish, and offsets follow each other', async (t) => {
  const { proxy, dial, channel } = await road(t, {}, { climbAfter: 250 });
  const publisher = connect(`${server.ws}/ws`, { WebSocket });
  t.after(() => publisher.close());
  const reader = dial();
  /** @type {Set<string>} */
  const used = new Set();
  reader.onstate = () => void (reader.transport && used.add(reader.transport));
  const room = reader.subscribe(channel);
  /** @type {object[]} */
  const losses = [];
  room.onlost = (lost) => void losses.push(lost);
  /** @type {(number | undefined)[]} */
  const offsets = [];
  room.onmessage = ({ offset }) => void offsets.push(offset);
  await within(room.ready, () => 'subscribed');
  /** @type {[Manners, string][]} */
  const moods = [
    [{ upgrade: 403 }, 'stream'],
    [{}, 'websocket'],
    [{ upgrade: 403, buffer: true }, 'poll'],
    [{}, 'websocket'],
    [{ upgrade: 'cut' }, 'stream'],
    [{ cutAfterMs: 500 }, 'stream'],
    [{}, 'websocket'],
  ];
  let total = 0;
  for (const [manners, transport] of moods) {
    proxy.manners = manners;
    proxy.cut();
    used.clear();
    // Nothing is stable here, so that pauses between attempts grow to half a minute, and some ways down take four.
    const until = Date.now() + 120_000;
    for (let number = 0; number < 100 || !(used.has(transport) || reader.transport === transport); number++) {
      assert.ok(Date.now() < until, `${transport} behind ${JSON.stringify(manners)}; it is ${JSON.stringify(reader.state)}`);
      await publisher.publish(channel, (total += 1));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  await eventually(() => losses.length > 0 || offsets.length >= total, 'all were heard', 30_000);
  assert.deepEqual(losses, []);
  assert.deepEqual(offsets, Array.from({ length: total }, (_, index) => index + 1));
  assert.equal(reader.transport, 'websocket', 'kind at last, it is up again');
});

test('the server is stopped and comes back: the transport stays', async (t) => {
  const { proxy, dial, channel } = await road(t, { upgrade: 403 });
  const client = dial();
  assert.equal(await opened(client), 'stream');
  await server.stop();
  await within(new Promise((resolve) => client.addEventListener('state', ({ state }) => state.name === 'waiting' && resolve(state))), () => 'away');
  server = await startServer(['serve', '--config', join(folder, 'sockeye.toml')], server.port);
  assert.equal(await opened(client), 'stream');
  await everythingArrives(client, 5, undefined, channel);
  assert.ok(!proxy.seen.includes('GET /ws/poll'));
});
