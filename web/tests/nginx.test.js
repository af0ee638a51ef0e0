/** Debian's nginx in front of the server: the configuration of docs/proxies.md, and two that are set up badly. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { connect } from '../client/sockeye.js';
import { everythingArrives, opened } from '../client/tests/road.js';
import { Browser, connected, eventually } from './browser.js';
import { startServer } from './server.js';

const NGINX = process.env.NGINX ?? 'nginx';
const STOP_WITHIN_MS = 8_000;
const TRANSPORTS = /** @type {const} */ (['websocket', 'stream', 'events', 'poll']);
const HUB = '[namespaces.chat]\nanonymous = "publish"\nhistory_size = 1000\n';

/** @type {import('./server.js').Server} */
let server;
let folder = '';
/** @type {import('node:child_process').ChildProcess} */
let nginx;
let [secure, plain, gathering, bare] = [0, 0, 0, 0];
let channels = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sockeye-nginx-'));
  await writeFile(join(folder, 'sockeye.toml'), HUB);
  server = await startServer(['serve', '--config', join(folder, 'sockeye.toml')]);
  [secure = 0, plain = 0, gathering = 0, bare = 0] = await freePorts(4);
  await promisify(execFile)('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem'),
  ]);
  await writeFile(join(folder, 'nginx.conf'), await configuration());
  nginx = spawn(NGINX, ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
  });
  await once(nginx, 'spawn');
  await eventually(() => isListening(bare), 'nginx listens');
});
after(async () => {
  if (nginx?.exitCode === null) {
    const ended = once(nginx, 'close');
    const late = setTimeout(() => nginx.kill('SIGKILL'), STOP_WITHIN_MS);
    nginx.kill('SIGTERM');
    await ended;
    clearTimeout(late);
  }
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The one block of nginx in docs/proxies.md, on ports of this machine, and beside it two that are set up badly. */
async function configuration() {
  const documented = /^```nginx\n(.*?)^```$/ms.exec(await readFile(new URL('../../docs/proxies.md', import.meta.url), 'utf8'))?.[1];
  assert.ok(documented, 'docs/proxies.md has a configuration');
  const adapted = [
    ['server 127.0.0.1:7071;', `server 127.0.0.1:${server.port};`],
    ['listen 443 ssl http2;', `listen 127.0.0.1:${secure} ssl http2; listen 127.0.0.1:${plain};`],
    ['server_name example.org;', 'server_name localhost;'],
    ['/etc/ssl/example.org.pem', join(folder, 'cert.pem')],
    ['/etc/ssl/example.org.key', join(folder, 'key.pem')],
  ].reduce((text, [from = '', to = '']) => {
    assert.ok(text.includes(from), from);
    return text.replace(from, to);
  }, documented);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${join(folder, kind)};`).join('\n');
  const backend = `proxy_pass http://127.0.0.1:${server.port}; proxy_set_header Host $host:$server_port;`;
  return `
daemon off;
pid ${join(folder, 'pid')};
error_log stderr crit;
events { worker_connections 512; }
http {
access_log off;
${temporary}
${adapted}
server { listen 127.0.0.1:${gathering}; location / { ${backend} proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_proxied any; gzip_min_length 0; gzip_types application/x-ndjson application/json; } }
server { listen 127.0.0.1:${bare}; location / { ${backend} proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering; } }
}`;
}

/** @param {import('node:test').TestContext} t @param {number} port @param {import('../client/sockeye.js').ConnectOptions} [options] */
function dial(t, port, options = {}) {
  const client = connect(`ws://127.0.0.1:${port}/ws`, { WebSocket, ...options });
  t.after(() => client.close());
  return client;
}

for (const transport of TRANSPORTS) {
  // Node has no EventSource; Chromium has.
  if (transport === 'events') continue;
  test(`as documented, over HTTP/1.1: ${transport}`, async (t) => {
    const client = dial(t, plain, { transports: [transport] });
    await everythingArrives(client, 60, undefined, `chat:${++channels}`);
    assert.equal(client.transport, transport);
  });
}

test('as documented, the client has its WebSocket', async (t) => {
  assert.equal(await opened(dial(t, plain)), 'websocket');
});

test('with nothing but a proxy_pass of HTTP/1.1, and buffers: a stream', async (t) => {
  const client = dial(t, bare);
  assert.equal(await opened(client), 'stream');
  await everythingArrives(client, 60, undefined, `chat:${++channels}`);
  assert.equal(client.transport, 'stream');
});

test('where answers are buffered and compressed, which holds streams back: long-polling', async (t) => {
  const client = dial(t, gathering);
  assert.equal(await opened(client), 'poll');
  await everythingArrives(client, 60, undefined, `chat:${++channels}`);
  assert.equal(client.transport, 'poll');
});

test('as documented, with TLS and HTTP/2, in Chromium: every transport', async () => {
  const browser = await Browser.launch({ ignoreHTTPSErrors: true });
  try {
    for (const transport of TRANSPORTS) {
      const page = await browser.open(`https://localhost:${secure}/cursors?transport=${transport}`);
      await connected(page);
      await page.locator(`#carrier[data-transport="${transport}"]`).waitFor();
      await page.mouse.move(300, 300);
      await page.getByText('You:').waitFor();
      const spoken = await page.evaluate(() => performance.getEntriesByType('resource').flatMap((entry) => {
        const { name, nextHopProtocol } = /** @type {PerformanceResourceTiming} */ (entry);
        return name.includes('/cursors/send') ? [nextHopProtocol] : [];
      }));
      assert.deepEqual([...new Set(spoken)], transport === 'websocket' ? [] : ['h2'], transport);
      await page.close();
    }
    assert.deepEqual(browser.troubles, []);
  } finally {
    await browser.close();
  }
});

/** nginx cannot be given port 0. @param {number} count @returns {Promise<number[]>} */
async function freePorts(count) {
  const probes = await Promise.all(Array.from({ length: count }, async () => {
    const probe = net.createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    return probe;
  }));
  const ports = probes.map((probe) => /** @type {net.AddressInfo} */ (probe.address()).port);
  await Promise.all(probes.map(async (probe) => {
    probe.close();
    await once(probe, 'close');
  }));
  return ports;
}

/** @param {number} port @returns {Promise<boolean>} */
function isListening(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
