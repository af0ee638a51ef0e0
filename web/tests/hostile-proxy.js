/**
 * A reverse proxy as they should not be. What it does to those who pass is `manners`, which a test may change while it runs; with none of
 * them it only passes on.
 *
 *     const proxy = await startProxy(server.port, { upgrade: 'swallow', buffer: true });
 *     …
 *     proxy.manners = {};
 */

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

/** Requests of one hop, which a proxy does not pass on unless it knows better. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer']);

/**
 * @typedef {object} Manners
 * @property {number | 'swallow' | 'cut' | 'mute'} [upgrade] refused with this status, never answered, cut right after the 101, or silent from then on
 * @property {boolean} [buffer] an answer is passed on when it is whole
 * @property {number} [cutAfterMs] whatever lasts longer is cut, sockets and answers alike
 * @property {number} [cutAfterBytes] the same for answers that are longer, the head not counted
 * @property {readonly string[]} [strip] headers that are lost on the way to the server
 * @property {number} [delayMs] what comes from the server comes so much later
 * @property {boolean} [twice] each POST is made twice, and the first answer is thrown away
 * @property {number} [answer] nothing gets through: this status, and a page of the proxy's own
 * @property {RegExp} [only] paths to which the manners are limited
 *
 * @typedef {object} Proxy
 * @property {number} port
 * @property {string} url with a slash at the end
 * @property {string} ws the same for WebSocket, without one
 * @property {Manners} manners
 * @property {string[]} seen the requests, as `GET /ws/stream`, and upgrades as `UPGRADE /ws`
 * @property {() => void} cut everything that is open, at once
 * @property {() => Promise<void>} stop
 */

/** @param {number} backend its port on this machine @param {Manners} [manners] @returns {Promise<Proxy>} */
export async function startProxy(backend, manners = {}) {
  /** @type {Set<net.Socket>} */
  const sockets = new Set();
  const keep = (/** @type {net.Socket} */ socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // Resets are a proxy's daily bread.
    socket.on('error', () => socket.destroy());
    return socket;
  };
  const server = http.createServer();
  server.on('connection', keep);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  /** @type {Proxy} */
  const proxy = {
    port,
    url: `http://127.0.0.1:${port}/`,
    ws: `ws://127.0.0.1:${port}`,
    manners,
    seen: [],
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    stop: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
  const mannersFor = (/** @type {string} */ path) => (proxy.manners.only?.test(path) ?? true ? proxy.manners : {});
  server.on('request', (request, response) => {
    proxy.seen.push(`${request.method} ${pathOf(request)}`);
    pass(request, response, backend, mannersFor(pathOf(request))).catch(() => response.destroy());
  });
  server.on('upgrade', (request, socket, head) => {
    proxy.seen.push(`UPGRADE ${pathOf(request)}`);
    passUpgrade(request, /** @type {net.Socket} */ (socket), head, keep(net.connect(backend, '127.0.0.1')), mannersFor(pathOf(request)));
  });
  return proxy;
}

/** @param {http.IncomingMessage} request @param {http.ServerResponse} response @param {number} backend @param {Manners} manners */
async function pass(request, response, backend, manners) {
  if (manners.answer !== undefined) return void response.writeHead(manners.answer, { 'content-type': 'text/html' }).end('<h1>No</h1>');
  const body = Buffer.concat(await request.toArray());
  const ask = () => once(forward(request, body, backend, manners, response), 'response');
  if (manners.twice && request.method === 'POST') (await ask())[0].resume();
  /** @type {http.IncomingMessage[]} */
  const [answer] = /** @type {any} */ (await ask());
  if (!answer) return;
  const { cutAfterMs, cutAfterBytes = Number.POSITIVE_INFINITY, delayMs = 0, buffer } = manners;
  if (cutAfterMs !== undefined) {
    const timer = setTimeout(() => response.destroy(), cutAfterMs);
    response.once('close', () => clearTimeout(timer));
  }
  const chunks = buffer ? [Buffer.concat(await answer.toArray())] : answer;
  response.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
  response.flushHeaders();
  let passed = 0;
  for await (const chunk of chunks) {
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    passed += chunk.length;
    response.write(chunk);
    if (passed > cutAfterBytes) return void response.destroy();
  }
  response.end();
}

/**
 * @param {http.IncomingMessage} request @param {Buffer} body @param {number} backend @param {Manners} manners
 * @param {http.ServerResponse} response when it is gone, so is this
 */
function forward(request, body, backend, { strip = [] }, response) {
  const headers = endToEnd(request.headers);
  for (const name of strip) delete headers[name.toLowerCase()];
  if (body.length > 0) headers['content-length'] = String(body.length);
  const onward = http.request({ host: '127.0.0.1', port: backend, method: request.method, path: request.url, headers, agent: false });
  onward.on('error', () => response.destroy());
  response.once('close', () => onward.destroy());
  return onward.end(body);
}

/**
 * @param {http.IncomingMessage} request @param {net.Socket} client @param {Buffer} head @param {net.Socket} server @param {Manners} manners
 */
function passUpgrade(request, client, head, server, { upgrade, cutAfterMs, delayMs = 0, strip = [] }) {
  const refusal = typeof upgrade === 'number' ? upgrade : strip.some((name) => /^(upgrade|connection)$/i.test(name)) ? 400 : undefined;
  if (upgrade === 'swallow' || refusal !== undefined) {
    server.destroy();
    if (refusal !== undefined) client.end(`HTTP/1.1 ${refusal} ${http.STATUS_CODES[refusal]}\r\nContent-Type: text/html\r\nContent-Length: 11\r\nConnection: close\r\n\r\n<h1>No</h1>`);
    return;
  }
  const lines = [];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    if (!strip.includes(request.rawHeaders[index]?.toLowerCase() ?? '')) lines.push(`${request.rawHeaders[index]}: ${request.rawHeaders[index + 1]}`);
  }
  server.write(`${request.method} ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  server.write(head);
  client.once('close', () => server.destroy());
  server.once('close', () => client.destroy());
  client.pipe(server);
  server.once('data', (first) => {
    client.write(first);
    if (upgrade === 'cut') return void setTimeout(() => client.destroy(), 20);
    if (upgrade === 'mute') return void server.resume();
    server.on('data', (data) => (delayMs > 0 ? setTimeout(() => client.write(data), delayMs) : client.write(data)));
  });
  if (cutAfterMs !== undefined) setTimeout(() => client.destroy(), cutAfterMs).unref();
}

/** @param {http.IncomingHttpHeaders} headers @returns {http.OutgoingHttpHeaders} */
function endToEnd(headers) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name)));
}

/** @param {http.IncomingMessage} request */
function pathOf(request) {
  return (request.url ?? '').split('?')[0] ?? '';
}
