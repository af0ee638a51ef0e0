/** Node's HTTP/2 client against our server: extended CONNECT (RFC 8441) by hand, pages beside it, and refusals. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { makeCertificate, startEcho, startServe } from './programs.js';

const ANSWER_WITHIN_MS = 10_000;

/** @type {import('./programs.js').Certificate} */
let certificate;
/** @type {import('./programs.js').Peer} */
let serve;
/** @type {import('./programs.js').Peer} */
let secure;

before(async () => {
  certificate = await makeCertificate();
  serve = await startServe();
  secure = await startEcho(['--tls-cert', certificate.cert, '--tls-key', certificate.key]);
});

after(async () => {
  await serve?.stop();
  await secure?.stop();
  await certificate?.remove();
});

/**
 * @param {string} url
 * @param {http2.SecureClientSessionOptions} [options]
 */
async function connect(url, options) {
  const session = http2.connect(url, options);
  const [settings] = await once(session, 'remoteSettings');
  assert.equal(settings.enableConnectProtocol, true, 'SETTINGS_ENABLE_CONNECT_PROTOCOL');
  return session;
}

/**
 * @param {http2.ClientHttp2Session} session
 * @param {string} path
 * @param {http2.OutgoingHttpHeaders} [more]
 */
function open(session, path, more = {}) {
  return session.request(
    { ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13', ...more },
    { endStream: false },
  );
}

/** @param {http2.ClientHttp2Stream} stream */
async function answer(stream) {
  stream.setTimeout(ANSWER_WITHIN_MS, () => stream.destroy(new Error('no answer in time')));
  const [headers] = await once(stream, 'response');
  return headers;
}

/**
 * A client's frame of less than 126 bytes. A mask of zeros is as good as any for a test (RFC 6455 section 5.3).
 * @param {number} opcode
 * @param {string | Buffer} payload
 */
function frame(opcode, payload) {
  const bytes = Buffer.from(payload);
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | bytes.length, 0, 0, 0, 0]), bytes]);
}

/**
 * @param {http2.ClientHttp2Stream} stream
 * @param {number} length
 */
async function read(stream, length) {
  const chunks = [];
  let size = 0;
  while (size < length) {
    const [chunk] = await once(stream, 'data');
    chunks.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(chunks);
}

for (const [name, url, session] of /** @type {const} */ ([
  ['in the clear, by prior knowledge', '/echo', () => connect(serve.http)],
  ['over TLS', '/', async () => connect(secure.https, { ca: await readFile(certificate.ca) })],
])) {
  describe(name, () => {
    /** @type {http2.ClientHttp2Session} */
    let client;

    before(async () => { client = await session(); });
    after(() => { client?.close(); });

    test('a message comes back, and so does the Close', async () => {
      const stream = open(client, url);
      assert.equal((await answer(stream))[':status'], 200);
      stream.write(frame(1, 'hello'));
      assert.deepEqual(await read(stream, 7), Buffer.from('\x81\x05hello', 'latin1'));
      stream.write(frame(8, Buffer.from([0x0f, 0xa0])));
      assert.deepEqual(await read(stream, 4), Buffer.from([0x88, 2, 0x0f, 0xa0]));
      stream.end();
      stream.resume();
      await once(stream, 'close');
      assert.equal(stream.rstCode, http2.constants.NGHTTP2_NO_ERROR);
    });

    test('a hundred sockets share the connection', async () => {
      const streams = Array.from({ length: 100 }, () => open(client, url));
      await Promise.all(streams.map(async (stream, number) => {
        assert.equal((await answer(stream))[':status'], 200);
        const text = `socket ${number}`;
        stream.write(frame(1, text));
        assert.equal((await read(stream, 2 + text.length)).subarray(2).toString(), text);
        stream.close();
      }));
    });

    test('a page comes by the same connection', async () => {
      const stream = client.request({ ':path': '/' });
      assert.equal((await answer(stream))[':status'], 200);
      stream.resume();
      await once(stream, 'end');
    });
  });
}

describe('refusals', () => {
  /** @type {http2.ClientHttp2Session} */
  let client;

  before(async () => { client = await connect(serve.http); });
  after(() => { client?.close(); });

  /**
   * @param {string} path
   * @param {http2.OutgoingHttpHeaders} [more]
   */
  async function status(path, more) {
    const stream = open(client, path, more);
    const headers = await answer(stream);
    stream.close();
    return headers[':status'];
  }

  test('an unknown path is 404', async () => assert.equal(await status('/nowhere'), 404));
  test('another protocol is 501', async () => assert.equal(await status('/echo', { ':protocol': 'webtransport' }), 501));
  test('another version is 400', async () => assert.equal(await status('/echo', { 'sec-websocket-version': '8' }), 400));
  test('only other subprotocols are 400', async () => {
    assert.equal(await status('/echo', { 'sec-websocket-protocol': 'soap' }), 400);
  });
  test('an offered subprotocol is selected', async () => {
    const stream = open(client, '/echo', { 'sec-websocket-protocol': 'soap, json' });
    assert.equal((await answer(stream))['sec-websocket-protocol'], 'json');
    stream.close();
  });
  test('a page that is not listed is 403', async () => {
    const closed = await startEcho(['--allow-origin', 'https://example.org']);
    const session = await connect(closed.http);
    const stream = open(session, '/', { origin: 'https://evil.example' });
    assert.equal((await answer(stream))[':status'], 403);
    session.close();
    await closed.stop();
  });
  test('the connection lives on after all of them', async () => {
    const stream = open(client, '/echo');
    assert.equal((await answer(stream))[':status'], 200);
    stream.close();
  });
});

test('a server that stops says so with 1001 and ends the connection', async () => {
  const stopping = await startEcho([]);
  const session = await connect(stopping.http);
  const stream = open(session, '/');
  assert.equal((await answer(stream))[':status'], 200);
  const close = read(stream, 4);
  const stopped = stopping.stop();
  const received = await close;
  // The length is that of the reason, which is prose.
  assert.equal(received[0], 0x88);
  assert.equal(received.readUInt16BE(2), 1001);
  stream.end(frame(8, Buffer.from([0x03, 0xe9])));
  stream.resume();
  assert.equal(await stopped, 0);
});
