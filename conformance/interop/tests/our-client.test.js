/** Our client against other people's servers. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { INTEROP_CLIENT, PEER_SERVERS, SIZES, SOCKEYE, open, run } from './programs.js';

for (const [name, startPeer] of Object.entries(PEER_SERVERS)) {
  describe(`our client and ${name}`, () => {
    /** @type {import('./programs.js').Peer} */
    let peer;

    before(async () => { peer = await startPeer(); });
    after(async () => { await peer?.stop(); });

    for (const size of SIZES) {
      test(`text and binary of ${size} bytes`, async () => {
        const { status, stderr } = await run(INTEROP_CLIENT, [`${peer.ws}/`, String(size)]);
        assert.equal(status, 0, stderr.slice(0, 1_000));
      });
    }

    test('one connection, all sizes, answers in fragments', async () => {
      const { status, stderr } = await run(INTEROP_CLIENT, [`${peer.ws}/fragments`, ...SIZES.map(String)]);
      assert.equal(status, 0, stderr.slice(0, 1_000));
    });

    test('pings from the server are answered between messages', async () => {
      // This path answers a message only after its ping was answered.
      const { status, stderr } = await run(INTEROP_CLIENT, [`${peer.ws}/ping`, '0', '126', '65536']);
      assert.equal(status, 0, stderr.slice(0, 1_000));
    });

    test('lines go out and come back', async () => {
      const lines = 'a\n\nb ä € 🐟\n/close\n';
      assert.deepEqual(await ask([`${peer.ws}/`], lines), { status: 0, stdout: lines, stderr: '' });
    });

    test('--binary sends the lines as binary', async () => {
      assert.equal((await ask(['--binary', `${peer.ws}/kind`], 'a\n')).stdout, 'binary 1\n');
    });

    test('the end of the input closes with 1000', async () => {
      assert.equal((await run(SOCKEYE, ['connect', `${peer.ws}/`])).status, 0);
      assert.equal((await ask([`${peer.ws}/last-code`], 'which\n')).stdout, '1000\n');
    });

    test('a close by the server with 1000 ends with status 0', async () => {
      const outcome = await keepOpen(`${peer.ws}/close/1000`);
      assert.equal(outcome.status, 0, outcome.stderr);
    });

    test('a connection that is cut ends with another status and a note', async () => {
      const outcome = await keepOpen(`${peer.ws}/cut`);
      assert.notEqual(outcome.status, 0);
      assert.match(outcome.stderr, /^sockeye: .+\n$/);
    });

    test('the subprotocol that the server selects is accepted', async () => {
      const options = ['--protocol', 'soap', '--protocol', 'json', `${peer.ws}/protocol`];
      assert.deepEqual(await ask(options, 'which\n'), { status: 0, stdout: 'json\n', stderr: '' });
    });

    test('headers and the origin reach the server', async () => {
      const options = ['--header', 'X-Interop: yes it is', '--origin', 'https://example.org', `${peer.ws}/headers`];
      assert.deepEqual(await ask(options, 'which\n'), { status: 0, stdout: 'yes it is https://example.org\n', stderr: '' });
    });
  });
}

test('what comes before the answer to our Close is printed', async () => {
  // Our Close leaves together with the line. npm ws answers a message before it looks at the next frame; Python
  // websockets answers a Close as soon as it is in, so it is no judge here.
  const peer = await PEER_SERVERS['npm ws']();
  const { status, stdout } = await run(SOCKEYE, ['connect', `${peer.ws}/thrice`], 'a');
  await peer.stop();
  assert.deepEqual({ status, stdout }, { status: 0, stdout: 'a\na\na\n' });
});

/**
 * Ends the input only when as many lines have come back as were sent.
 * @param {string[]} options
 * @param {string} lines
 */
async function ask(options, lines) {
  const running = open(SOCKEYE, ['connect', ...options]);
  const count = (/** @type {string} */ text) => text.split('\n').length;
  running.write(lines);
  for (let i = 0; i < 500 && count(running.outcome.stdout) < count(lines); i += 1) await sleep(20);
  running.end();
  return running.ended;
}

/**
 * Sends one line and leaves the input open, so that it is the server who ends it.
 * @param {string} url
 */
function keepOpen(url) {
  const running = open(SOCKEYE, ['connect', url]);
  running.write('go\n');
  return running.ended;
}
