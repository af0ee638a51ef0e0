/** A conversation over HTTP with responses that the test writes, and time that passes when it says so. */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Conversation } from '../sockeye/conversation.js';
import { BadAnswer, receiveEvents } from '../sockeye/receivers.js';
import { pass, settle } from './world.js';

/** @typedef {{ url: URL, signal: AbortSignal, heard: (frame?: string) => void, end: () => void, fail: (error: Error) => void }} Answer */

/** @param {import('node:test').TestContext} t */
function scene(t) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_732_147_200_000 });
  /** @type {Answer[]} */
  const answers = [];
  /** @type {URL[]} */
  const posts = [];
  mock.method(globalThis, 'fetch', async (/** @type {string} */ url) => {
    posts.push(new URL(url));
    return new Response(null, { status: 204 });
  });
  const conversation = new Conversation(new URL('http://here.example/ws?a=b'), 'stream', (url, signal, heard) => new Promise((end, fail) => {
    answers.push({ url: new URL(url), signal, heard, end, fail });
  }), true);
  /** @type {string[]} */
  const heard = [];
  /** @type {any[]} */
  const closes = [];
  conversation.onmessage = ({ data }) => heard.push(data);
  conversation.onclose = (event) => closes.push(event);
  t.after(() => {
    conversation.close();
    mock.timers.reset();
    mock.restoreAll();
  });
  const last = () => {
    const answer = answers.at(-1);
    assert.ok(answer);
    return answer;
  };
  const open = (heartbeat = 25_000) => last().heard(JSON.stringify({ open: { id: 'abc', heartbeat_ms: heartbeat } }));
  return { conversation, answers, last, open, heard, closes, posts };
}

test('it asks without a name, and comes back with its name and what it has got', async (t) => {
  const { answers, last, open, heard } = scene(t);
  assert.equal(last().url.href, 'http://here.example/ws/stream?a=b');
  open();
  last().heard('{"a":1}');
  last().heard(undefined);
  last().heard('"a text"');
  last().end();
  await pass(0);
  assert.equal(answers.length, 2);
  assert.equal(last().url.href, 'http://here.example/ws/stream?a=b&id=abc&received=2');
  assert.deepEqual(heard, ['{"a":1}', 'a text']);
});

test('a line that is silent for longer than was promised is broken; what it says then is not heard', async (t) => {
  const { answers, last, open, heard, closes } = scene(t);
  open(3_000);
  const silent = last();
  await pass(12_900);
  last().heard(undefined);
  await pass(12_900);
  assert.equal(answers.length, 1, 'a heartbeat is a sign of life');
  await pass(200);
  assert.ok(silent.signal.aborted);
  silent.heard('{"late":1}');
  assert.deepEqual(heard, []);
  assert.equal(answers.length, 2, 'the server may not know of it: it is asked');
  await pass(14_000);
  assert.deepEqual(closes, [{ code: 1006, reason: 'cut', verdict: 'cut' }], 'and not again, when not a word comes to that');
});

test('cut, it comes back at once, then after pauses; for longer than the server waits it does not try', async (t) => {
  const { answers, last, open, closes } = scene(t);
  open();
  await pass(30_000);
  last().heard('{"a":1}');
  for (let cut = 0; cut < 60 && closes.length === 0; cut++) {
    last().fail(new TypeError('network'));
    await pass(100);
  }
  assert.deepEqual(closes, [{ code: 1006, reason: 'cut', verdict: undefined }], 'nobody answers: that is an outage, and no wall');
  assert.ok(answers.length >= 5 && answers.length <= 12, `${answers.length} requests`);
});

test('an idle line that is cut every ten seconds is the same conversation all day', async (t) => {
  const { answers, last, open, closes } = scene(t);
  open();
  for (let round = 0; round < 100; round++) {
    await pass(10_000);
    if (round % 2) last().end();
    else last().fail(new TypeError('network'));
    await pass(0);
  }
  assert.deepEqual(closes, []);
  assert.equal(answers.length, 101);
});

test('a response that ends without a word is not asked for without a pause', async (t) => {
  const { answers, last, open } = scene(t);
  open();
  for (let round = 0; round < 50; round++) {
    last().heard(undefined);
    last().end();
    await pass(10);
  }
  assert.ok(answers.length < 10, `${answers.length} requests in half a second`);
});

test('one that ends a moment later without a word is asked for with pauses as well', async (t) => {
  const { answers, last, open } = scene(t);
  open();
  for (let round = 0; round < 33; round++) {
    last().heard(undefined);
    await pass(300);
    last().end();
    await pass(0);
  }
  assert.ok(answers.length < 16, `${answers.length} requests in ten seconds`);
});

/** @type {[string, (answer: Answer) => void, string][]} */
const BEGINNINGS = [
  ['nobody answers', ({ fail }) => fail(new TypeError('network')), 'unreachable'],
  ['the server refuses', ({ fail }) => fail(new BadAnswer(403, 'HTTP 403 no', { isServers: true })), 'refused'],
  ['something else refuses', ({ fail }) => fail(new BadAnswer(403, 'HTTP 403')), 'blocked'],
  ['there is no such path', ({ fail }) => fail(new BadAnswer(404, 'HTTP 404', { isServers: true })), 'blocked'],
  ['a page answers', ({ heard }) => heard('<h1>Welcome to the hotel</h1>'), 'blocked'],
  ['it ends before it begins', ({ end }) => end(), 'blocked'],
  ['it closes before it opens', ({ heard }) => heard('{"close":{"code":1013,"reason":"full"}}'), 'refused'],
];

for (const [name, happens, verdict] of BEGINNINGS) {
  test(`${name}: ${verdict}`, async (t) => {
    const { last, closes, answers, posts } = scene(t);
    happens(last());
    await settle();
    assert.equal(closes.length, 1);
    assert.equal(closes[0].verdict, verdict);
    assert.equal(answers.length, 1);
    assert.deepEqual(posts, [], 'there is nothing to leave');
  });
}

test('messages are numbered, and the next POST waits for the answer', async (t) => {
  const { conversation, open, posts } = scene(t);
  open();
  conversation.send('{"n":1}');
  conversation.send('{"n":2}');
  assert.equal(conversation.bufferedAmount, 14);
  await settle();
  conversation.send('{"n":3}');
  await settle();
  assert.deepEqual(posts.map(({ pathname, search }) => pathname + search), ['/ws/send?a=b&id=abc&sent=0', '/ws/send?a=b&id=abc&sent=2']);
  assert.equal(conversation.bufferedAmount, 0);
});

test('more than may wait to be sent is the end of it', async (t) => {
  const { conversation, open, closes } = scene(t);
  open();
  mock.method(globalThis, 'fetch', () => new Promise(() => {}));
  for (let message = 0; message < 17; message++) conversation.send(`"${'x'.repeat(1024 * 1024)}"`);
  assert.equal(closes[0]?.code, 1006);
  assert.equal(conversation.bufferedAmount, 0);
});

for (const [status, close] of /** @type {const} */ ([
  [403, { code: 1006, reason: 'HTTP 403' }],
  [503, { code: 1006, reason: 'what is sent does not arrive', verdict: 'cut' }],
])) {
  test(`a POST refused with ${status} in a body that stalls is given up in time`, async (t) => {
    const { conversation, open, closes } = scene(t);
    open();
    mock.method(globalThis, 'fetch', async (/** @type {string} */ _, /** @type {RequestInit} */ { signal } = {}) => new Response(
      new ReadableStream({ start: (body) => signal?.addEventListener('abort', () => body.error(signal.reason)) }),
      { status },
    ));
    conversation.send('{"n":1}');
    await pass(9_999);
    assert.deepEqual(closes, []);
    await pass(1);
    assert.deepEqual(closes, [close]);
  });
}

test('a farewell with a code is handed on', async (t) => {
  const { last, open, closes, posts } = scene(t);
  open();
  last().heard('{"close":{"code":1012,"reason":"restart"}}');
  assert.deepEqual(closes, [{ code: 1012, reason: 'restart' }]);
  await settle();
  assert.deepEqual(posts, []);
});

test('closed by this end, it leaves', async (t) => {
  const { conversation, open, closes, posts } = scene(t);
  open();
  conversation.close(1000, 'done');
  await settle();
  assert.deepEqual(closes, [{ code: 1000, reason: 'done' }]);
  assert.equal(posts.at(-1)?.pathname, '/ws/leave');
});

test('a page that answers a POST has taken nothing: it is made again', async (t) => {
  const { conversation, open, posts, closes } = scene(t);
  open();
  mock.method(globalThis, 'fetch', async (/** @type {string} */ url) => {
    posts.push(new URL(url));
    if (posts.length > 2) return new Response(null, { status: 204 });
    return new Response('<h1>Welcome to the hotel</h1>', { headers: { 'content-type': 'text/html; charset=utf-8' } });
  });
  conversation.send('{"n":1}');
  await pass(100);
  assert.equal(conversation.bufferedAmount, 7);
  await pass(200);
  assert.equal(conversation.bufferedAmount, 0);
  assert.deepEqual(posts.map(({ searchParams }) => searchParams.get('sent')), ['0', '0', '0']);
  assert.deepEqual(closes, []);
});

/** An `EventSource` that does what the test says: of comments, which are the heartbeats, a page hears nothing. */
class FakeSource {
  static CLOSED = 2;
  /** @type {FakeSource[]} */
  static all = [];
  readyState = 0;
  /** @type {(() => void) | undefined} */
  onopen;
  /** @type {((event: { data: string }) => void) | undefined} */
  onmessage;
  /** @type {(() => void) | undefined} */
  onerror;

  /** @param {string} url */
  constructor(url) {
    this.url = url;
    FakeSource.all.push(this);
  }

  close() {
    this.readyState = FakeSource.CLOSED;
  }
}

/** @param {import('node:test').TestContext} t */
function events(t) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_732_147_200_000 });
  mock.method(globalThis, 'fetch', async () => new Response(null, { status: 204 }));
  const before = Object.getOwnPropertyDescriptor(globalThis, 'EventSource');
  Object.defineProperty(globalThis, 'EventSource', { value: FakeSource, configurable: true });
  FakeSource.all = [];
  const conversation = new Conversation(new URL('http://here.example/ws'), 'events', receiveEvents, true);
  /** @type {unknown[]} */
  const closes = [];
  conversation.onclose = (event) => closes.push(event);
  t.after(() => {
    conversation.close();
    mock.timers.reset();
    mock.restoreAll();
    if (before) Object.defineProperty(globalThis, 'EventSource', before);
    else Reflect.deleteProperty(globalThis, 'EventSource');
  });
  FakeSource.all[0]?.onopen?.();
  FakeSource.all[0]?.onmessage?.({ data: '{"open":{"id":"abc","heartbeat_ms":25000}}' });
  return closes;
}

test('events: a line that is idle is the same conversation all day, though its heartbeats are not heard', async (t) => {
  const closes = events(t);
  for (let seconds = 0; seconds < 600; seconds++) {
    await pass(1_000);
    const last = FakeSource.all.at(-1);
    if (last?.readyState === 0) last.onopen?.();
    if (last) last.readyState ||= 1;
  }
  assert.deepEqual(closes, []);
  assert.ok(FakeSource.all.length < 30, `${FakeSource.all.length} requests`);
});

test('events: one that nobody answers any more is given up', async (t) => {
  const closes = events(t);
  await pass(35_000);
  assert.deepEqual([FakeSource.all.length, closes.length], [2, 0], 'it is asked');
  await pass(35_000);
  assert.equal(closes.length, 1);
});
