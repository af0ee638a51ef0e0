/** permessage-deflate (RFC 7692): npm `ws` against our server, our client against npm `ws`. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { INTEROP_CLIENT, SIZES, bytesOf, digest, run, startEcho, startWs, textOf } from './programs.js';

/** What either side may insist on. */
const TERMS = {
  'as offered': {},
  'without takeover at the server': { serverNoContextTakeover: true },
  'without takeover at the client': { clientNoContextTakeover: true },
  'without takeover': { serverNoContextTakeover: true, clientNoContextTakeover: true },
  'with small windows': { serverMaxWindowBits: 9, clientMaxWindowBits: 10 },
};

describe('npm ws as a client', () => {
  for (const server of [['--deflate'], ['--deflate', '--takeover']]) {
    describe(`our server with ${server.join(' ')}`, () => {
      /** @type {import('./programs.js').Peer} */
      let echo;

      before(async () => { echo = await startEcho(['--max-message', '16MiB', ...server]); });
      after(async () => { await echo?.stop(); });

      for (const [name, terms] of Object.entries(TERMS)) {
        test(name, async () => {
          const socket = new WebSocket(`${echo.ws}/`, { maxPayload: 64 << 20, perMessageDeflate: { threshold: 0, ...terms } });
          await once(socket, 'open');
          assert.match(socket.extensions, /^permessage-deflate/);
          for (const size of SIZES) {
            for (const message of [textOf(size), bytesOf(size)]) {
              socket.send(message);
              const [data] = await once(socket, 'message');
              assert.equal(digest(data), digest(message));
            }
          }
          socket.close(1000);
          await once(socket, 'close');
        });
      }
    });
  }

  test('a server that was not told to compress declines', async () => {
    const echo = await startEcho();
    const socket = new WebSocket(`${echo.ws}/`, { perMessageDeflate: true });
    await once(socket, 'open');
    assert.equal(socket.extensions, '');
    socket.terminate();
    await echo.stop();
  });
});

describe('npm ws as a server', () => {
  for (const [name, terms] of Object.entries(TERMS)) {
    for (const options of [['--deflate'], ['--deflate', '--takeover']]) {
      test(`${name}, our client with ${options.join(' ')}`, async () => {
        const peer = await startWs({ threshold: 0, ...terms });
        const { status, stderr } = await run(INTEROP_CLIENT, [...options, `${peer.ws}/fragments`, ...SIZES.map(String)]);
        await peer.stop();
        assert.equal(status, 0, stderr.slice(0, 1_000));
      });
    }
  }
});
