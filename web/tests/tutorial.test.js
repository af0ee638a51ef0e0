/** Clients as tutorials have them: a bare `new WebSocket`, on a page from somewhere else, at whatever path. Each demo alone. */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Browser, connected } from './browser.js';
import { startServer } from './server.js';

const ODD_PATHS = ['/', '/ws', '/a/b/c', '/%E9%AE%AD', '/ws?name=ann&x=%00', '/chat/', '/~odd/x.y;z', '/assets'];

/** @type {Browser} */
let browser;
/** @type {import('playwright-core').Page} */
let page;
const elsewhere = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>elsewhere</title><link rel=icon href=data:,>'));

before(async () => {
  elsewhere.listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
  const address = elsewhere.address();
  browser = await Browser.launch();
  page = await browser.open(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`);
});
after(async () => {
  await browser?.close();
  elsewhere.close();
});

/**
 * Opens a socket in the page, sends, and gives back what came until there are enough messages.
 * @param {{ url: string, protocols?: string[], send: string[], enough: number }} job
 */
function talk(job) {
  return page.evaluate(({ url, protocols, send, enough }) => new Promise((resolve) => {
    const socket = protocols ? new WebSocket(url, protocols) : new WebSocket(url);
    /** @type {unknown[]} */
    const got = [];
    const finish = (/** @type {string} */ how) => resolve({ how, got, protocol: socket.protocol });
    setTimeout(() => finish('too late'), 5000);
    socket.onopen = () => send.forEach((each) => socket.send(each));
    socket.onclose = () => finish('closed');
    socket.onmessage = (event) => {
      got.push(event.data);
      if (got.length < enough) return;
      finish('enough');
      socket.close();
    };
  }), job);
}

/**
 * @param {'echo' | 'chat' | 'cursors'} demo
 * @param {(server: import('./server.js').Server) => Promise<void>} run
 */
async function withDemo(demo, run) {
  const server = await startServer(['demo', demo]);
  try {
    browser.troubles = [];
    await run(server);
  } finally {
    await server.stop();
  }
}

test('chat at every path, with and without the subprotocol', () => withDemo('chat', async (server) => {
  let said = 0;
  for (const path of ODD_PATHS) {
    for (const protocols of [undefined, ['json'], ['other', 'json']]) {
      const text = `hello at ${path} ${protocols ?? ''}`;
      const { how, got, protocol } = /** @type {{ how: string, got: string[], protocol: string }} */ (await talk({ url: server.ws + path, protocols, send: [JSON.stringify({ user: 'ann', text })], enough: 2 }));
      assert.equal(how, 'enough', path);
      assert.equal(protocol, protocols ? 'json' : '');
      assert.equal(JSON.parse(got[0] ?? '').msg.length, said, 'the whole state on connecting');
      said += 1;
      const { msg } = JSON.parse(got[1] ?? '');
      assert.equal(msg.length, said);
      assert.deepEqual({ ...msg.at(-1), time: 0 }, { user: 'ann', text, time: 0 });
      assert.ok(Math.abs(msg.at(-1).time - Date.now()) < 60_000, 'Unix milliseconds');
    }
  }
  assert.deepEqual(browser.troubles, []);
}));

test('a client that offers only other subprotocols is refused', () => withDemo('chat', async (server) => {
  for (const protocols of [['other'], ['JSON'], ['json2', 'xml']]) {
    const { how, got } = /** @type {{ how: string, got: string[] }} */ (await talk({ url: `${server.ws}/`, protocols, send: [], enough: 1 }));
    assert.equal(how, 'closed');
    assert.deepEqual(got, []);
  }
}));

test('what is no chat message is answered to its sender alone', () => withDemo('chat', async (server) => {
  const wrong = ['', 'x', '7', 'null', '[]', '{}', '{"user":"a"}', '{"user":"","text":"t"}', '{"user":"a","text":7}', JSON.stringify({ user: 'a'.repeat(41), text: 't' }), JSON.stringify({ user: 'a', text: 't'.repeat(2001) })];
  const { how, got } = /** @type {{ how: string, got: string[] }} */ (await talk({ url: `${server.ws}/`, send: wrong, enough: wrong.length + 1 }));
  assert.equal(how, 'enough');
  for (const answer of got.slice(1)) assert.equal(typeof JSON.parse(answer).error, 'string', answer);
  const { got: state } = /** @type {{ got: string[] }} */ (await talk({ url: `${server.ws}/`, send: [], enough: 1 }));
  assert.deepEqual(JSON.parse(state[0] ?? ''), { msg: [] }, 'nothing was stored');
}));

test('cursors at every path: the sender gets its own message back, with two members more', () => withDemo('cursors', async (server) => {
  const senders = new Set();
  for (const path of ODD_PATHS) {
    for (const protocols of [undefined, ['json']]) {
      const { how, got, protocol } = /** @type {{ how: string, got: string[], protocol: string }} */ (await talk({ url: server.ws + path, protocols, send: ['{"x":120,"y":80.5,"more":{"a":[1]}}', '{"x":1,"y":-2}'], enough: 2 }));
      assert.equal(how, 'enough', path);
      assert.equal(protocol, protocols ? 'json' : '');
      const [first, second] = got.map((each) => JSON.parse(each));
      const { sender, color, ...rest } = first;
      assert.deepEqual(rest, { x: 120, y: 80.5, more: { a: [1] } }, 'unknown members are passed on');
      assert.match(sender, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      assert.ok(Number.isInteger(color) && color >= 0 && color < 360);
      assert.deepEqual(second, { x: 1, y: -2, sender, color });
      senders.add(sender);
    }
  }
  assert.equal(senders.size, ODD_PATHS.length * 2, 'a new sender for each connection');
  assert.deepEqual(browser.troubles, []);
}));

test('echo at every path', () => withDemo('echo', async (server) => {
  for (const path of ODD_PATHS) {
    const { how, got } = /** @type {{ how: string, got: string[] }} */ (await talk({ url: server.ws + path, send: ['', '鮭', 'x'.repeat(65_536)], enough: 3 }));
    assert.equal(how, 'enough', path);
    assert.deepEqual(got, ['', '鮭', 'x'.repeat(65_536)]);
  }
}));

test('each demo alone shows its page at every path, and the page works there', async () => {
  for (const [demo, word] of /** @type {const} */ ([['echo', 'Send something'], ['chat', 'Chat'], ['cursors', 'Cursors']])) {
    await withDemo(demo, async (server) => {
      for (const path of ['', 'ws', 'some/where?x=1']) {
        const own = await browser.open(server.url + path);
        await connected(own);
        assert.equal(await own.locator('h1').textContent(), word);
        assert.equal(await own.locator('nav').isVisible(), false, 'no links to demos that are not there');
        await own.close();
      }
      assert.deepEqual(browser.troubles, []);
    });
  }
});
