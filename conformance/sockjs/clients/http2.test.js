/** The transports over HTTP/2, with Node's own client of it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { after, before, test } from 'node:test';
import { start, within } from './program.js';

const { HTTP2_HEADER_METHOD: METHOD, HTTP2_HEADER_PATH: PATH, HTTP2_HEADER_STATUS: STATUS } = http2.constants;

/** @type {import('./program.js').Server} */
let server;
/** @type {http2.ClientHttp2Session} */
let connection;

before(async () => {
  server = await start(['demo', 'sockjs']);
  connection = http2.connect(server.url);
  await once(connection, 'connect');
});
after(async () => {
  connection?.close();
  await server?.stop();
});

/** @param {string} [prefix] */
const session = (prefix = '/echo') => `${prefix}/000/${Math.random().toString(36).slice(2)}`;

/**
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} [headers]
 */
function begin(method, path, headers = {}, body = '') {
  const stream = connection.request({ [METHOD]: method, [PATH]: path, ...headers }, { endStream: body === '' });
  if (body !== '') stream.end(body);
  return stream.setEncoding('utf8');
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} [headers]
 */
async function ask(method, path, headers = {}, body = '') {
  const stream = begin(method, path, headers, body);
  const [head] = await within(once(stream, 'response'));
  let text = '';
  stream.on('data', (chunk) => { text += chunk; });
  await within(once(stream, 'end'));
  return { status: head[STATUS], head, text };
}

/**
 * Reads until a text has come; gives back all that came.
 * @param {http2.ClientHttp2Stream} stream
 * @param {string} end
 */
async function until(stream, end) {
  let text = '';
  await within(new Promise((resolve, reject) => {
    const read = (/** @type {string} */ chunk) => {
      text += chunk;
      if (!text.endsWith(end)) return;
      stream.off('data', read);
      resolve(undefined);
    };
    stream.on('data', read);
    stream.once('close', () => reject(new Error(`it ended after ${JSON.stringify(text)}`)));
  }));
  return text;
}

for (const [transport, method, prelude, wrap] of /** @type {[string, string, string, (frame: string) => string][]} */ ([
  ['xhr_streaming', 'POST', `${'h'.repeat(2048)}\n`, (frame) => `${frame}\n`],
  ['eventsource', 'GET', '\r\n', (frame) => `data: ${frame}\r\n\r\n`],
])) {
  test(`${transport}: messages come as they are sent, and the response ends at its limit`, async () => {
    const url = session();
    const stream = begin(method, `${url}/${transport}`, { origin: 'http://page' });
    const [head] = await within(once(stream, 'response'));
    assert.equal(head[STATUS], 200);
    assert.equal(head['access-control-allow-origin'], 'http://page');
    assert.equal(await until(stream, wrap('o')), prelude + wrap('o'));
    assert.equal((await ask('POST', `${url}/xhr_send`, {}, '["a"]')).status, 204);
    assert.equal(await until(stream, wrap('a["a"]')), wrap('a["a"]'));
    const ended = once(stream, 'end');
    const text = 'x'.repeat(4_096);
    assert.equal((await ask('POST', `${url}/xhr_send`, {}, JSON.stringify([text]))).status, 204);
    assert.equal(await until(stream, wrap(`a["${text}"]`)), wrap(`a["${text}"]`));
    stream.resume();
    await within(ended);
    const again = begin(method, `${url}/${transport}`);
    assert.equal(await until(again, prelude), prelude);
    again.close();
  });
}

test('polls: one frame an answer', async () => {
  const url = session();
  assert.equal((await ask('POST', `${url}/xhr`)).text, 'o\n');
  assert.equal((await ask('POST', `${url}/xhr_send`, { 'content-type': 'text/plain' }, '["a","😀"]')).status, 204);
  assert.equal((await ask('POST', `${url}/xhr`)).text, 'a["a","\\ud83d\\ude00"]\n');
  const script = session();
  assert.equal((await ask('GET', `${script}/jsonp?c=f`)).text, '/**/f("o");\r\n');
});

test('a response that its client resets ends the session', async () => {
  const url = session();
  const stream = begin('POST', `${url}/xhr_streaming`);
  await until(stream, 'o\n');
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await within(once(stream, 'close'));
  assert.equal((await ask('POST', `${url}/xhr`)).text, 'o\n', 'a new one');
});

test('a second receiver is told so, and a closed session says why', async () => {
  const url = session();
  const stream = begin('POST', `${url}/xhr_streaming`);
  await until(stream, 'o\n');
  assert.equal((await ask('POST', `${url}/xhr`)).text, 'c[2010,"Another connection still open"]\n');
  stream.close();
  const closed = session('/close');
  assert.equal((await ask('POST', `${closed}/xhr`)).text, 'o\n');
  assert.equal((await ask('POST', `${closed}/xhr`)).text, 'c[3000,"Go away!"]\n');
});

test('statuses are those of HTTP/1.1', async () => {
  for (const [method, path, status] of /** @type {[string, string, number][]} */ ([
    ['GET', '/echo', 200], ['GET', '/echo//', 404], ['GET', '/echo/./.', 404], ['POST', '/echo///xhr', 404], ['GET', '/echo/a', 404],
    ['PUT', '/echo/000/a/xhr', 405], ['GET', '/echo/websocket', 400], ['GET', '/echo/0/0/websocket', 400],
    ['GET', '/disabled_websocket_echo/websocket', 404], ['OPTIONS', '/echo/0/0/xhr', 204], ['GET', '/echo/info', 200],
  ])) {
    assert.equal((await ask(method, path)).status, status, `${method} ${path}`);
  }
  assert.equal((await ask('POST', `${session()}/xhr_send`, {}, '["a"]')).status, 404);
  assert.equal((await ask('POST', `${session()}/xhr_send`, {}, '[')).status, 500);
});
