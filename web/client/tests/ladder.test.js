/** Which transport a client ends on behind each kind of proxy, and how it comes back up. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everythingArrives, opened, road, within } from './road.js';

/** @type {[string, import('./road.js').Manners, string][]} */
const WAYS = [
  ['a kind proxy', {}, 'websocket'],
  ['a slow one', { delayMs: 200 }, 'websocket'],
  ['an upgrade refused with 403', { upgrade: 403 }, 'stream'],
  ['an upgrade refused with 400', { upgrade: 400 }, 'stream'],
  ['an upgrade answered with 200', { upgrade: 200 }, 'stream'],
  ['Upgrade and Connection stripped', { strip: ['upgrade', 'connection'] }, 'stream'],
  ['Last-Event-ID, Origin and others stripped', { upgrade: 502, strip: ['last-event-id', 'origin', 'cache-control'] }, 'stream'],
  ['an upgrade that nobody answers', { upgrade: 'swallow' }, 'stream'],
  ['sockets cut right after the 101', { upgrade: 'cut' }, 'stream'],
  ['sockets on which nothing comes', { upgrade: 'mute' }, 'stream'],
  ['no upgrade, and answers held until they are whole', { upgrade: 403, buffer: true }, 'poll'],
  ['upgrades swallowed, and answers held', { upgrade: 'swallow', buffer: true }, 'poll'],
  ['no upgrade, and every answer cut after a second', { upgrade: 403, cutAfterMs: 1000 }, 'stream'],
  ['no upgrade, and each POST made twice', { upgrade: 403, twice: true }, 'stream'],
];

for (const [name, manners, transport] of WAYS) {
  test(`${name}: ${transport}, and everything arrives`, { concurrency: true }, async (t) => {
    const { dial } = await road(t, manners);
    const client = dial();
    assert.equal(await opened(client), transport);
    await everythingArrives(client, 25);
    assert.equal(client.transport, transport);
  });
}

test('what worked is remembered: the next client does not ask for an upgrade', async (t) => {
  const { proxy, dial } = await road(t, { upgrade: 403 });
  assert.equal(await opened(dial()), 'stream');
  const before = proxy.seen.length;
  assert.equal(await opened(dial()), 'stream');
  assert.deepEqual(proxy.seen.slice(before).filter((request) => request.startsWith('UPGRADE')), []);
});

test('it climbs back when the proxy becomes kind, and loses nothing on the way', async (t) => {
  const { carrier, proxy, dial } = await road(t, { upgrade: 403 }, { climbAfter: 200 });
  const client = dial();
  assert.equal(await opened(client), 'stream');
  await everythingArrives(client, 400, async (number) => {
    if (number === 20) proxy.manners = {};
    await new Promise((resolve) => setTimeout(resolve, 15));
  });
  assert.equal(client.transport, 'websocket');
  await within((async () => {
    while (carrier.talks.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  })(), () => 'the conversation over HTTP was left', 2000);
  const before = proxy.seen.length;
  assert.equal(await opened(dial()), 'websocket');
  assert.deepEqual(proxy.seen.slice(before), ['UPGRADE /ws'], 'and that is remembered');
});

test('a better transport that does not hold is not taken', async (t) => {
  const { proxy, dial } = await road(t, { upgrade: 403 }, { climbAfter: 100 });
  const client = dial();
  assert.equal(await opened(client), 'stream');
  const { session } = /** @type {{ session: string }} */ (client.state);
  proxy.manners = { upgrade: 'cut' };
  await within((async () => {
    while (proxy.seen.filter((request) => request === 'UPGRADE /ws').length < 4) await new Promise((resolve) => setTimeout(resolve, 10));
  })(), () => 'tried');
  await everythingArrives(client, 5);
  assert.equal(/** @type {{ session: string }} */ (client.state).session, session, 'the old one was never given up');
});

test('transports change and change again: nothing is lost and nothing comes twice', async (t) => {
  const { proxy, dial } = await road(t, {}, { climbAfter: 300 });
  const client = dial();
  /** @type {Set<string | undefined>} */
  const used = new Set();
  client.onstate = () => used.add(client.transport);
  await everythingArrives(client, 900, async (number) => {
    // A new wall every hundred, and everything that is open falls.
    const moods = [{ upgrade: 403 }, { upgrade: 403, buffer: true }, {}, { upgrade: /** @type {const} */ ('cut') }];
    if (number % 200 === 100) {
      proxy.manners = moods[Math.floor(number / 200) % moods.length] ?? {};
      proxy.cut();
    }
    await new Promise((resolve) => setTimeout(resolve, 4));
  });
  assert.ok(used.has('stream') && used.has('websocket'), [...used].join());
});

for (const [status, why] of /** @type {const} */ ([[401, 'unauthorized'], [403, 'forbidden'], [429, 'rate_limited'], [503, 'unavailable']])) {
  test(`the server's own ${status} leads nowhere down`, async (t) => {
    const { carrier, proxy, dial } = await road(t, { upgrade: status });
    carrier.answers = (_, response) => {
      response.writeHead(status, { 'content-type': 'application/json', 'retry-after': '1' }).end(JSON.stringify({ error: { code: why, message: why } }));
      return true;
    };
    const client = dial();
    await within(new Promise((resolve) => client.addEventListener('state', ({ state }) => state.name === 'waiting' && resolve(state))), () => 'refused');
    assert.ok(client.state.name === 'waiting' && client.state.close.reason.includes(String(status)), JSON.stringify(client.state));
    assert.ok(client.state.name === 'waiting' && client.state.until - Date.now() > 900, 'as long as it was asked to');
    assert.deepEqual(proxy.seen.slice(0, 2), ['UPGRADE /ws', 'GET /ws/stream']);
    assert.ok(!proxy.seen.includes('GET /ws/poll'));
    carrier.answers = () => false;
    proxy.manners = {};
    assert.equal(await opened(client), 'websocket');
  });
}

test('a Close with a code is the server’s word', async (t) => {
  const { carrier, dial } = await road(t);
  const client = dial();
  await opened(client);
  for (let round = 0; round < 3; round++) {
    const waiting = new Promise((resolve) => client.addEventListener('state', ({ state }) => state.name === 'waiting' && resolve(state), { once: true }));
    carrier.close(1008);
    await within(waiting, () => 'closed');
    assert.equal(await opened(client), 'websocket');
  }
});

test('an outage is no wall: who had a WebSocket has one again', async (t) => {
  const { proxy, dial } = await road(t);
  const client = dial();
  await opened(client);
  proxy.manners = { upgrade: 502, answer: 502 };
  proxy.cut();
  await within(new Promise((resolve) => client.addEventListener('state', ({ state }) => state.name === 'waiting' && resolve(state))), () => 'away');
  proxy.manners = {};
  assert.equal(await opened(client), 'websocket');
});

test('pinned, it stays', async (t) => {
  const { proxy, dial } = await road(t, { upgrade: 403 }, { transports: ['websocket'] });
  const client = dial();
  await within(new Promise((resolve) => client.addEventListener('state', ({ state }) => state.name === 'waiting' && resolve(state))), () => 'refused');
  assert.deepEqual(proxy.seen, ['UPGRADE /ws']);
  assert.equal(await opened(dial({ transports: ['poll'] })), 'poll');
  assert.equal(await opened(dial({ transports: ['stream', 'websocket'] })), 'stream');
  assert.throws(() => dial({ transports: /** @type {any} */ (['carrier pigeon']) }), TypeError);
  assert.throws(() => dial({ transports: [] }), TypeError);
});

test('where there is no WebSocket at all, as in Node 20, it goes over HTTP', async (t) => {
  const { WebSocket } = globalThis;
  Object.assign(globalThis, { WebSocket: undefined });
  t.after(() => Object.assign(globalThis, { WebSocket }));
  const { dial } = await road(t, {}, { WebSocket: undefined });
  const client = dial();
  assert.equal(await opened(client), 'stream');
  await everythingArrives(client, 10);
  assert.throws(() => dial({ transports: ['websocket'] }), TypeError);
});
