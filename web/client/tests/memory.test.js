/** What worked is remembered for this host, this kind of network, and a while; a page that may not remember works all the same. */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { MEMORY_MS } from '../sockeye/limits.js';
import { Memory } from '../sockeye/memory.js';

/** A page's storage, as far as it goes. @param {import('node:test').TestContext} t @param {Partial<Storage>} [storage] */
function page(t, storage) {
  mock.timers.enable({ apis: ['Date'], now: 1_732_147_200_000 });
  /** @type {Map<string, string>} */
  const kept = new Map();
  const connection = { type: 'wifi' };
  const globals = {
    document: {},
    navigator: { connection },
    localStorage: storage ?? {
      getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
      setItem: (/** @type {string} */ key, /** @type {string} */ value) => kept.set(key, value),
      removeItem: (/** @type {string} */ key) => kept.delete(key),
    },
  };
  const before = Object.keys(globals).map((name) => /** @type {const} */ ([name, Object.getOwnPropertyDescriptor(globalThis, name)]));
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true });
  t.after(() => {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
    }
    mock.timers.reset();
  });
  return { kept, connection };
}

const HERE = new URL('wss://here.example/ws');

test('it lasts from one page to the next, and no longer than it may', (t) => {
  page(t);
  new Memory(HERE).keep('poll');
  assert.equal(new Memory(HERE).recall(), 'poll');
  mock.timers.tick(MEMORY_MS - 1);
  assert.equal(new Memory(HERE).recall(), 'poll');
  mock.timers.tick(1);
  assert.equal(new Memory(HERE).recall(), undefined);
});

test('another host, and another kind of network, are another matter', (t) => {
  const { connection } = page(t);
  new Memory(HERE).keep('stream');
  assert.equal(new Memory(new URL('wss://there.example/ws')).recall(), undefined);
  connection.type = 'cellular';
  assert.equal(new Memory(HERE).recall(), undefined);
  connection.type = 'wifi';
  assert.equal(new Memory(HERE).recall(), 'stream');
  new Memory(HERE).forget();
  assert.equal(new Memory(HERE).recall(), undefined);
});

test('what others left there is not believed', (t) => {
  const { kept } = page(t);
  for (const text of ['', 'null', '[]', '{', '{"transport":"poll"}', '{"transport":"poll","network":"wifi","until":"tomorrow"}']) {
    kept.set('sockeye.transport here.example', text);
    assert.equal(new Memory(HERE).recall(), undefined, text);
  }
});

test('a page that may not remember goes without', (t) => {
  const no = () => {
    throw new Error('not here');
  };
  page(t, { getItem: no, setItem: no, removeItem: no });
  const memory = new Memory(HERE);
  memory.keep('poll');
  memory.forget();
  assert.equal(memory.recall(), undefined);
});
