/** The connection machine in node, with a clock, dice and sockets of its own: no browser, no network, no waiting. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BACKOFF_BASE_MS, BACKOFF_CAP_MS, CONNECT_DEADLINE_MS, LiveSocket, STABLE_AFTER_MS, backoff, socketAddress } from '../pages/live-socket.js';

/** A socket that does what the test says. */
class FakeSocket {
  bufferedAmount = 0;
  /** @type {unknown[]} */
  sent = [];
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: { data: unknown }) => void) | null} */
  onmessage = null;
  /** @type {((event: { code: number, reason: string }) => void) | null} */
  onclose = null;
  /** @param {unknown} data */
  send(data) {
    this.sent.push(data);
  }
  close() {
    this.onclose?.({ code: 1006, reason: '' });
  }
}

/** @param {() => number} [random] */
function world(random = () => 1) {
  let time = 0;
  /** @type {{ at: number, run: () => void }[]} */
  let timers = [];
  /** @type {FakeSocket[]} */
  const sockets = [];
  /** @type {string[]} */
  const states = [];
  /** @type {unknown[]} */
  const messages = [];
  const live = new LiveSocket('ws://here/chat', { onState: (state) => states.push(state.name), onMessage: (data) => messages.push(data) }, {
    connect: (url, protocols) => {
      assert.equal(url, 'ws://here/chat');
      assert.deepEqual(protocols, ['json']);
      const socket = new FakeSocket();
      sockets.push(socket);
      return /** @type {WebSocket} */ (/** @type {unknown} */ (socket));
    },
    later: (run, afterMs) => {
      const timer = { at: time + afterMs, run };
      timers.push(timer);
      return /** @type {ReturnType<typeof setTimeout>} */ (/** @type {unknown} */ (timer));
    },
    cancel: (timer) => {
      timers = timers.filter((each) => /** @type {unknown} */ (each) !== timer);
    },
    now: () => time,
    random,
  });
  const pass = (/** @type {number} */ ms) => {
    time += ms;
    const due = timers.filter((timer) => timer.at <= time);
    timers = timers.filter((timer) => timer.at > time);
    for (const timer of due) timer.run();
  };
  const socket = () => {
    const last = sockets.at(-1);
    assert.ok(last);
    return last;
  };
  const pause = () => {
    assert.equal(live.state.name, 'waiting');
    return live.state.name === 'waiting' ? live.state.until - time : 0;
  };
  return { live, sockets, states, messages, pass, socket, pause, timers: () => timers.length };
}

test('the pauses grow up to a ceiling and lie anywhere below it', () => {
  for (const failures of [0, 1, 2, 3, 4, 5, 6, 10, 100, 1e6, -1]) {
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.max(0, failures));
    assert.equal(backoff(failures, () => 0), 0);
    assert.equal(backoff(failures, () => 0.5), ceiling / 2);
    assert.ok(backoff(failures, () => 1 - Number.EPSILON) <= ceiling);
  }
  assert.equal(backoff(0, () => 1), 500);
  assert.equal(backoff(3, () => 1), 4000);
  assert.equal(backoff(6, () => 1), 20_000);
});

test('the pauses of many pages are spread out', () => {
  const pauses = Array.from({ length: 1000 }, () => backoff(6));
  const quarters = [0, 0, 0, 0];
  for (const pause of pauses) quarters[Math.floor(pause / 5000)] = (quarters[Math.floor(pause / 5000)] ?? 0) + 1;
  for (const quarter of quarters) assert.ok(quarter > 150, `uneven: ${quarters}`);
});

test('the address is that of the page, with the right scheme', () => {
  assert.equal(socketAddress({ protocol: 'http:', host: 'h:1', pathname: '/chat' }), 'ws://h:1/chat');
  assert.equal(socketAddress({ protocol: 'https:', host: 'h', pathname: '/a/b' }), 'wss://h/a/b');
  assert.equal(socketAddress({ protocol: 'http:', host: 'h', pathname: '//evil/x' }), 'ws://h//evil/x');
  assert.equal(socketAddress({ protocol: 'http:', host: 'h', pathname: '/' }, '/echo'), 'ws://h/echo');
});

test('opens, passes messages on, and sends only while open', () => {
  const { live, states, messages, socket, timers } = world();
  assert.equal(live.send('early'), false);
  live.start();
  live.start();
  assert.equal(live.send('too early'), false);
  socket().onopen?.();
  assert.equal(timers(), 0, 'the deadline of the attempt is gone');
  assert.equal(live.send('hello'), true);
  assert.deepEqual(socket().sent, ['hello']);
  socket().onmessage?.({ data: 'back' });
  assert.deepEqual(messages, ['back']);
  assert.deepEqual(states, ['connecting', 'open']);
});

test('each failure in a row doubles the ceiling of the pause', () => {
  const { live, socket, pass, pause } = world();
  live.start();
  for (const expected of [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]) {
    socket().close();
    assert.equal(pause(), expected);
    pass(expected);
  }
  assert.equal(live.state.name, 'connecting');
});

test('a server that accepts and drops at once is not stormed', () => {
  const { live, socket, pass, pause } = world();
  live.start();
  for (const expected of [500, 1000, 2000]) {
    socket().onopen?.();
    pass(STABLE_AFTER_MS - 1);
    socket().close();
    assert.equal(pause(), expected);
    pass(expected);
  }
});

test('a connection that held makes the next pause short again', () => {
  const { live, socket, pass, pause } = world();
  live.start();
  for (const wait of [500, 1000, 2000]) {
    socket().close();
    pass(wait);
  }
  socket().onopen?.();
  pass(STABLE_AFTER_MS);
  socket().close();
  assert.equal(pause(), 500);
});

test('an attempt that hangs is given up', () => {
  const { live, sockets, pass } = world();
  live.start();
  pass(CONNECT_DEADLINE_MS);
  assert.equal(live.state.name, 'waiting');
  pass(500);
  assert.equal(sockets.length, 2);
});

test('a pause can be cut short, and nothing else can', () => {
  const { live, sockets, socket, timers } = world();
  live.start();
  live.retryNow();
  assert.equal(sockets.length, 1);
  socket().close();
  live.retryNow();
  assert.equal(sockets.length, 2);
  assert.equal(timers(), 1, 'only the deadline of the new attempt');
  socket().onopen?.();
  live.retryNow();
  assert.equal(sockets.length, 2);
});

test('late events of an older socket change nothing', () => {
  const { live, sockets, states, messages } = world();
  live.start();
  sockets[0]?.close();
  live.retryNow();
  const before = states.length;
  sockets[0]?.onopen?.();
  sockets[0]?.onmessage?.({ data: 'ghost' });
  sockets[0]?.close();
  assert.equal(states.length, before);
  assert.deepEqual(messages, []);
});

test('stopped is stopped, from every state', () => {
  for (const lead of [() => {}, (/** @type {FakeSocket} */ socket) => socket.onopen?.(), (/** @type {FakeSocket} */ socket) => socket.close()]) {
    const { live, sockets, socket, pass, timers } = world();
    live.start();
    lead(socket());
    live.stop();
    assert.equal(live.state.name, 'stopped');
    assert.equal(timers(), 0);
    pass(60_000);
    assert.equal(sockets.length, 1);
  }
});
