/** When it comes back, when it does not, and how it notices that it must. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as pages from '../../pages/live-socket.js';
import * as limits from '../sockeye.js';
import { FakeSocket, agree, greet, pass, pause, refuse, settle, world } from './world.js';

test('the schedule is that of the pages of this server', () => {
  for (const name of /** @type {const} */ (['BACKOFF_BASE_MS', 'BACKOFF_CAP_MS', 'CONNECT_DEADLINE_MS', 'STABLE_AFTER_MS'])) assert.equal(limits[name], pages[name], name);
  for (const failures of [-1, 0, 1, 5, 6, 100, 1e6]) assert.equal(limits.backoff(failures, () => 0.7), pages.backoff(failures, () => 0.7));
});

test('greets, with a token and a name if there are any', async (t) => {
  const { client, socket, states } = world(t, { token: 'abc', name: 'web/1.4' });
  assert.equal(socket().url, 'ws://here.example/ws');
  socket().onopen?.({});
  const command = await agree(socket(), { session: 's9', user: 'ann', ping_every_ms: 25_000 });
  assert.deepEqual(command, { connect: { token: 'abc', client: 'web/1.4' } });
  assert.deepEqual(client.state, { name: 'open', session: 's9', user: 'ann', transport: 'websocket' });
  assert.deepEqual(states, ['connecting', 'open']);
});

test('each failure in a row doubles the ceiling of the pause', async (t) => {
  const { client, socket, count } = world(t);
  for (const expected of [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]) {
    socket().drop();
    assert.equal(pause(client), expected);
    await pass(expected - 1);
    assert.equal(client.state.name, 'waiting');
    await pass(1);
    assert.equal(client.state.name, 'connecting');
  }
  assert.equal(count(), 9);
});

test('the pause is anything below the ceiling', async (t) => {
  const { client, socket } = world(t, {}, () => 0.25);
  socket().drop();
  assert.equal(pause(client), 125);
});

test('a server that greets and drops is not stormed; one that held is asked soon', async (t) => {
  const { client, socket } = world(t);
  for (const expected of [500, 1000, 2000]) {
    await greet(socket());
    await pass(limits.STABLE_AFTER_MS - 1);
    socket().drop();
    assert.equal(pause(client), expected);
    await pass(expected);
  }
  await greet(socket());
  await pass(limits.STABLE_AFTER_MS);
  socket().drop();
  assert.equal(pause(client), 500);
});

test('never sooner than the server said, and never as late as a mistake would have it', async (t) => {
  for (const [hint, expected] of [[2300, 2300], [100, 500], [1e15, limits.RETRY_AFTER_CAP_MS], [-5, 500], ['soon', 500]]) {
    await t.test(`${hint}`, async (t) => {
      const { client, socket } = world(t);
      await greet(socket());
      socket().say({ bye: { code: 1012, reason: 'restart', retry_after_ms: hint } });
      socket().drop();
      assert.equal(pause(client), expected);
      assert.deepEqual(client.state.name === 'waiting' && client.state.close, { code: 1012, reason: 'restart' });
    });
  }
});

test('a refused greeting: later, with its hint, or never', async (t) => {
  for (const code of ['rate_limited', 'unavailable', 'internal', 'timeout', 'limit']) {
    await t.test(code, async (t) => {
      const { client, socket, errors } = world(t);
      socket().onopen?.({});
      await refuse(socket(), code, { retry_after_ms: 7000 });
      assert.equal(pause(client), 7000);
      assert.equal(socket().closedWith, 1000);
      assert.deepEqual(errors, [code]);
    });
  }
  for (const code of ['unauthorized', 'token_expired', 'forbidden', 'bad_request']) {
    await t.test(code, async (t) => {
      const { client, socket } = world(t);
      const room = client.subscribe('chat');
      const publishing = assert.rejects(client.publish('chat', 1), { code });
      socket().onopen?.({});
      await refuse(socket(), code);
      assert.equal(client.state.name === 'closed' && client.state.error?.code, code);
      assert.equal(room.state, 'ended');
      await publishing;
      await assert.rejects(room.ready, { code });
    });
  }
});

test('4000 to 4099 are final, all others are not', async (t) => {
  for (const [code, name] of [[4000, 'protocol'], [4001, 'unauthorized'], [4003, 'forbidden'], [4009, 'replaced'], [4042, 'closed'], [4099, 'closed']]) {
    await t.test(`${code}`, async (t) => {
      const { client, socket, count } = world(t);
      await greet(socket());
      socket().drop(Number(code), 'because');
      assert.equal(client.state.name === 'closed' && client.state.error?.code, name);
      assert.deepEqual(client.state.name === 'closed' && client.state.error?.close, { code, reason: 'because' });
      await pass(3_600_000);
      assert.equal(count(), 1);
    });
  }
  for (const code of [1000, 1001, 1002, 1003, 1006, 1008, 1009, 1011, 1012, 1013, 3999, 4100, 4101, 4102, 4108, 4199, 4999]) {
    await t.test(`${code}`, async (t) => {
      const { client, socket } = world(t);
      await greet(socket());
      socket().drop(code);
      assert.equal(client.state.name, 'waiting');
    });
  }
});

test('a farewell counts where the close was lost', async (t) => {
  const { client, socket } = world(t);
  await greet(socket());
  socket().say({ bye: { code: 4003, reason: 'revoked' } });
  socket().drop(1006);
  assert.equal(client.state.name === 'closed' && client.state.error?.code, 'forbidden');
});

test('an attempt that hangs is given up: before it opens, and before it is greeted', async (t) => {
  const { client, socket, count } = world(t);
  await pass(limits.CONNECT_DEADLINE_MS);
  assert.equal(client.state.name, 'waiting');
  assert.equal(socket().closedWith, 1000);
  await pass(500);
  assert.equal(count(), 2);
  socket().onopen?.({});
  await pass(limits.CONNECT_DEADLINE_MS);
  assert.equal(client.state.name, 'waiting');
});

test('late events of an older socket change nothing', async (t) => {
  const { client, socket, states, errors, count } = world(t);
  const old = socket();
  old.drop();
  await pass(500);
  const before = [...states];
  old.onopen?.({});
  old.say({ id: 1, ok: { session: 'ghost' } });
  old.blurt('nonsense');
  old.drop(4001);
  await settle();
  assert.deepEqual(states, before);
  assert.deepEqual(errors, []);
  assert.equal(count(), 2);
  assert.deepEqual(old.written, []);
  assert.equal(client.state.name, 'connecting');
});

test('silence for longer than promised is asked about, and no answer is the end of it', async (t) => {
  const { client, socket, states } = world(t);
  await greet(socket(), { session: 's', ping_every_ms: 25_000 });
  await pass(20_000);
  socket().say({ on: 'elsewhere', data: 1 });
  await pass(limits.PING_MARGIN_MS + 24_999);
  assert.deepEqual(socket().take(), []);
  await pass(1);
  assert.deepEqual(await agree(socket()), { ping: {} });
  await pass(limits.PING_MARGIN_MS + 25_000);
  assert.equal(socket().take().length, 1);
  await pass(limits.TIMEOUT_MS - 1);
  assert.deepEqual(states, ['connecting', 'open']);
  await pass(1);
  assert.deepEqual(client.state, { name: 'waiting', until: Date.now() + 500, close: { code: 1006, reason: 'no answer to a ping' } });
});

test('whatever is heard while a ping waits is an answer', async (t) => {
  const { client, socket } = world(t);
  await greet(socket(), { session: 's', ping_every_ms: 1000 });
  await pass(1000 + limits.PING_MARGIN_MS);
  assert.equal(socket().take().length, 1);
  await pass(1);
  socket().say({ on: 'elsewhere', data: 1 });
  await pass(limits.TIMEOUT_MS - 1);
  assert.equal(client.state.name, 'open');
});

test('without a promise there is no ping', async (t) => {
  for (const promise of [undefined, 0, -1, 'often', null]) {
    await t.test(`${promise}`, async (t) => {
      const { socket } = world(t);
      await greet(socket(), { session: 's', ping_every_ms: promise });
      await pass(3_600_000);
      assert.deepEqual(socket().take(), []);
    });
  }
});

test('the token is asked for once, kept, and replaced when it expired', async (t) => {
  let asked = 0;
  const { client, socket } = world(t, { getToken: async () => `t${++asked}` });
  const hello = async () => {
    await settle();
    socket().onopen?.({});
    return (await agree(socket(), { session: 's' })).connect.token;
  };
  assert.equal(await hello(), 't1');
  socket().drop(1012);
  await pass(500);
  assert.equal(await hello(), 't1');
  socket().drop(4100);
  await pass(1000);
  assert.equal(await hello(), 't2');
  socket().drop(1006);
  await pass(2000);
  socket().onopen?.({});
  await refuse(socket(), 'token_expired');
  await pass(pause(client));
  assert.equal(await hello(), 't3');
  socket().say({ expiring: { in_ms: 60_000 } }, { expiring: { in_ms: 59_000 } });
  assert.deepEqual(await agree(socket(), { expires_in_ms: 1 }), { refresh: { token: 't4' } });
  assert.equal(asked, 4, 'once for both');
  socket().say({ expiring: { in_ms: 1 } });
  await settle();
  assert.equal(asked, 4, 'a server cannot make it ask all the time');
  await pass(limits.STABLE_AFTER_MS);
  socket().say({ expiring: { in_ms: 1 } });
  await settle();
  assert.equal(asked, 5);
});

test('no token to be had: tried again, unless it is said that there will be none', async (t) => {
  await t.test('for now', async (t) => {
    const { client, count, errors } = world(t, { getToken: async () => Promise.reject(new Error('down')) });
    await settle();
    assert.equal(pause(client), 500);
    assert.equal(count(), 0);
    assert.deepEqual(errors, ['unauthorized']);
  });
  await t.test('ever', async (t) => {
    const { client } = world(t, { getToken: () => Promise.reject(new limits.SockeyeError('unauthorized')) });
    await settle();
    assert.equal(client.state.name === 'closed' && client.state.error?.code, 'unauthorized');
  });
  await t.test('in time', async (t) => {
    const { client } = world(t, { getToken: () => new Promise(() => {}) });
    await pass(limits.CONNECT_DEADLINE_MS);
    assert.equal(client.state.name, 'waiting');
  });
});

test('with a token of its own the program is told that it runs out', async (t) => {
  const { client, socket } = world(t, { token: 'a' });
  /** @type {number[]} */
  const told = [];
  client.onexpiring = ({ inMs }) => told.push(inMs);
  await greet(socket());
  socket().say({ expiring: { in_ms: 60_000 } });
  assert.deepEqual(told, [60_000]);
  const refreshed = client.refresh('b');
  assert.deepEqual(await agree(socket(), { expires_in_ms: 1 }), { refresh: { token: 'b' } });
  await refreshed;
  socket().drop();
  await pass(500);
  socket().onopen?.({});
  assert.equal((await agree(socket(), {})).connect.token, 'b');
});

test('closed is closed, from every state, and nothing is left ticking', async (t) => {
  for (const [name, lead] of /** @type {[string, (socket: FakeSocket) => unknown][]} */ ([
    ['connecting', () => {}],
    ['open', (socket) => greet(socket, { session: 's', ping_every_ms: 1000 })],
    ['waiting', (socket) => socket.drop()],
  ])) {
    await t.test(name, async (t) => {
      const { client, socket, states, count } = world(t);
      client.subscribe('chat');
      const answers = [client.publish('chat', 1), client.call('x'), client.history('chat')].map((answer) => assert.rejects(answer, { code: 'closed' }));
      await lead(socket());
      assert.equal(client.state.name, name);
      client.close();
      client.close();
      await Promise.all(answers);
      assert.equal(states.filter((state) => state === 'closed').length, 1);
      await pass(3_600_000);
      assert.equal(count(), 1);
      assert.equal(client.state.name, 'closed');
      for (const answer of [client.publish('chat', 1), client.call('x'), client.presence('chat')]) await assert.rejects(answer, { code: 'closed' });
      await assert.rejects(client.refresh('x').then(() => client.call('x')), { code: 'closed' });
    });
  }
});

test('a listener may close it in the middle of anything', async (t) => {
  for (const event of ['onstate', 'onmessage', 'onlost', 'room.onstate']) {
    await t.test(event, async (t) => {
      const { client, socket, count } = world(t);
      const room = client.subscribe('chat', { since: { epoch: 'd', offset: 1 } });
      await greet(socket());
      const end = () => client.close();
      if (event === 'onstate') client.onstate = end;
      else if (event === 'room.onstate') room.onstate = end;
      else Object.assign(room, { [event]: end });
      const [ask] = socket().take();
      socket().say({ id: ask?.id, ok: { epoch: 'e', offset: 1 } }, { on: 'chat', offset: 2, data: 1 }, { on: 'chat', offset: 3, data: 1 });
      socket().drop();
      assert.equal(client.state.name, 'closed');
      await pass(60_000);
      assert.equal(count(), 1);
      assert.equal(client.state.name, 'closed');
    });
  }
});

test('closed by a listener when the connection breaks, it does not come back', async (t) => {
  const { client, socket, states } = world(t);
  const room = client.subscribe('chat');
  await greet(socket());
  await agree(socket(), { epoch: 'e', offset: 1 });
  room.onstate = () => client.close();
  socket().drop();
  assert.deepEqual(states, ['connecting', 'open', 'closed']);
});

test('closed by a listener, it does not read on', async (t) => {
  const { client, socket, errors } = world(t);
  const room = client.subscribe('chat');
  await greet(socket());
  await agree(socket(), {});
  room.onmessage = () => client.close();
  socket().say({ on: 'chat', data: 1 }, { error: { code: 'internal' } });
  assert.deepEqual(errors, []);
});

test('a WebSocket that cannot be made is a failure like others', async (t) => {
  class Refused extends FakeSocket {
    /** @param {string} url @param {string[]} protocols */
    constructor(url, protocols) {
      super(url, protocols);
      throw new Error('not allowed here');
    }
  }
  const { client, count } = world(t, { WebSocket: Refused });
  assert.equal(pause(client), 500);
  await pass(500);
  assert.equal(count(), 2);
});

test('addresses', (t) => {
  const { client } = world(t);
  client.close();
  const to = (/** @type {string | URL} */ url) => {
    limits.connect(url, { WebSocket: FakeSocket }).close();
    return FakeSocket.all.at(-1)?.url;
  };
  assert.equal(to('http://h:1/ws?a=b#c'), 'ws://h:1/ws?a=b');
  assert.equal(to(new URL('https://h/ws')), 'wss://h/ws');
  assert.equal(to('wss://h/ws'), 'wss://h/ws');
  for (const url of ['ftp://h/', 'javascript:alert(1)', '/ws', '']) assert.throws(() => to(url), TypeError);
  Object.defineProperty(globalThis, 'location', { value: new URL('https://page.example/a/b'), configurable: true });
  t.after(() => Reflect.deleteProperty(globalThis, 'location'));
  assert.equal(to('/ws'), 'wss://page.example/ws');
});

test('what a listener for the state begins is asked for once, behind what waited', async (t) => {
  const { client, socket } = world(t);
  client.call('waited').catch(() => {});
  client.addEventListener('state', ({ state }) => {
    if (state.name === 'open') client.subscribe('chat').addEventListener('error', ({ error }) => assert.fail(error));
  });
  socket().onopen?.({});
  await settle();
  const [hello] = socket().take();
  socket().say({ id: hello?.id, ok: { session: 's1' } });
  await settle();
  assert.deepEqual(socket().take().map(({ call, subscribe }) => call ?? subscribe), ['waited', 'chat']);
});

test('a token that is refreshed during the greeting is shown behind it', async (t) => {
  const { client, socket, errors } = world(t, { token: 'first' });
  client.call('waited').catch(() => {});
  socket().onopen?.({});
  await settle();
  const [hello] = socket().take();
  assert.equal(hello?.connect.token, 'first');
  await client.refresh('second');
  socket().say({ id: hello?.id, ok: { session: 's1' } });
  await settle();
  const [shown, waited] = socket().take();
  assert.deepEqual([shown?.refresh, waited?.call], [{ token: 'second' }, 'waited']);
  socket().say({ id: shown?.id, error: { code: 'forbidden', message: 'somebody else' } });
  await settle();
  assert.deepEqual(errors, ['forbidden'], 'nobody awaits it');
});

for (const code of ['token_expired', 'unauthorized']) {
  test(`an old token that is answered with ${code} when there is a newer one is not the end`, async (t) => {
    const { client, socket, count } = world(t, { token: 'first' });
    socket().onopen?.({});
    await settle();
    const [hello] = socket().take();
    await client.refresh('second');
    socket().say({ id: hello?.id, error: { code, message: 'old' } });
    await pass(pause(client));
    assert.equal(count(), 2);
    socket().onopen?.({});
    await settle();
    const [again] = socket().take();
    assert.equal(again?.connect.token, 'second');
    socket().say({ id: again?.id, error: { code, message: 'no' } });
    assert.equal(client.state.name, 'closed');
  });
}
