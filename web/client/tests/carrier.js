/** A server that speaks the protocol over WebSocket and over HTTP, as small as it can be: docs/protocol.md, "Over HTTP". */

import { once } from 'node:events';
import http from 'node:http';
import { WebSocketServer } from 'ws';
import { Hub } from './hub.js';

/** As the real one: a conversation without a receiver lives so long. */
const LINGER_MS = 5_000;
const FRAMES = {
  stream: { type: 'application/x-ndjson', write: (/** @type {string[]} */ objects) => objects.map((object) => `${object}\n`).join('') },
  poll: { type: 'application/json', write: (/** @type {string[]} */ objects) => `[${objects.join()}]` },
};

/**
 * @typedef {object} Talk one conversation
 * @property {string} id
 * @property {string[]} said everything, so that it can be said again
 * @property {number} handed
 * @property {number} taken
 * @property {{ response: http.ServerResponse, kind: 'stream' | 'poll' } | undefined} receiver
 * @property {ReturnType<Hub['accept']>} far
 * @property {ReturnType<typeof setTimeout> | undefined} linger
 */

export class Carrier {
  hub = new Hub();
  /** @type {Map<string, Talk>} */
  talks = new Map();
  /** Asked before a request is answered: true if that has been done. @type {(request: http.IncomingMessage, response: http.ServerResponse) => boolean} */
  answers = () => false;
  /** What the heartbeat is said to be. */
  heartbeatMs = 25_000;
  /** After so many messages a stream ends; 0 for never. */
  streamLimit = 0;
  /** Commands that came, as they came. @type {string[]} */
  heard = [];
  #server = http.createServer((request, response) => void this.#serve(request, response));
  #sockets = new WebSocketServer({ noServer: true });
  #ids = 0;

  /** @param {import('node:test').TestContext} test */
  static async start(test) {
    const carrier = new Carrier();
    const server = carrier.#server;
    server.on('upgrade', (request, socket, head) => {
      carrier.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
        const far = carrier.hub.accept((text) => webSocket.send(text));
        webSocket.on('message', (data) => carrier.#commanded(far, String(data)));
        webSocket.on('close', far.gone);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    test.after(async () => {
      for (const talk of carrier.talks.values()) carrier.#forget(talk);
      for (const socket of carrier.#sockets.clients) socket.terminate();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    });
    return carrier;
  }

  get port() {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Every response and socket that is open is cut; conversations live on. */
  cut() {
    for (const { receiver } of this.talks.values()) receiver?.response.destroy();
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  /** Every socket is closed, by the server's own wish. @param {number} code */
  close(code) {
    for (const socket of this.#sockets.clients) socket.close(code);
  }

  /** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
  async #serve(request, response) {
    const body = Buffer.concat(await request.toArray()).toString();
    if (this.answers(request, response)) return;
    const url = new URL(request.url ?? '', this.url);
    const endpoint = url.pathname.replace('/ws/', '');
    const id = url.searchParams.get('id');
    const talk = id === null && endpoint in FRAMES ? this.#open() : this.talks.get(id ?? '');
    if (!talk) return void response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":{"code":"not_found","message":"no such conversation"}}');
    if (endpoint === 'send') this.#take(talk, Number(url.searchParams.get('sent')), body, response);
    else if (endpoint === 'leave') {
      this.#forget(talk);
      response.writeHead(204).end();
    } else this.#attach(talk, /** @type {'stream' | 'poll'} */ (endpoint), Number(url.searchParams.get('received') ?? -1), response);
  }

  #open() {
    /** @type {Talk} */
    const talk = { id: `c${++this.#ids}`, said: [], handed: 0, taken: 0, receiver: undefined, far: this.hub.accept((text) => this.#say(talk, text)), linger: undefined };
    this.talks.set(talk.id, talk);
    return talk;
  }

  /** @param {Talk} talk @param {string} text */
  #say(talk, text) {
    talk.said.push(text);
    // What is said in one turn is one frame.
    setImmediate(() => this.#flush(talk));
  }

  /** @param {Talk} talk @param {'stream' | 'poll'} kind @param {number} received @param {http.ServerResponse} response */
  #attach(talk, kind, received, response) {
    clearTimeout(talk.linger);
    talk.receiver?.response.end(FRAMES[talk.receiver.kind].write(['{"close":{"code":4009,"reason":"replaced by another receiver"}}']));
    talk.receiver = { response, kind };
    response.once('close', () => {
      if (talk.receiver?.response !== response) return;
      talk.receiver = undefined;
      talk.linger = setTimeout(() => this.#forget(talk), LINGER_MS);
    });
    response.writeHead(200, { 'content-type': FRAMES[kind].type, 'cache-control': 'no-store' });
    response.flushHeaders();
    if (received < 0) {
      response.write(FRAMES[kind].write([JSON.stringify({ open: { id: talk.id, heartbeat_ms: this.heartbeatMs } })]));
      if (kind === 'poll') response.end();
    } else talk.handed = received;
    this.#flush(talk);
  }

  /** @param {Talk} talk */
  #flush(talk) {
    const { receiver } = talk;
    if (!receiver || receiver.response.writableEnded || receiver.response.destroyed) return;
    const objects = talk.said.slice(talk.handed);
    if (objects.length === 0) return;
    talk.handed = talk.said.length;
    receiver.response.write(FRAMES[receiver.kind].write(objects));
    if (receiver.kind === 'poll' || (this.streamLimit > 0 && talk.handed % this.streamLimit === 0)) receiver.response.end();
  }

  /** @param {Talk} talk @param {number} sent @param {string} body @param {http.ServerResponse} response */
  #take(talk, sent, body, response) {
    if (sent > talk.taken) return void response.writeHead(409).end();
    for (const object of JSON.parse(body).slice(talk.taken - sent)) {
      talk.taken += 1;
      this.#commanded(talk.far, JSON.stringify(object));
    }
    response.writeHead(204).end();
  }

  /** @param {ReturnType<Hub['accept']>} far @param {string} text */
  #commanded(far, text) {
    this.heard.push(text);
    far.heard(text);
  }

  /** @param {Talk} talk */
  #forget(talk) {
    clearTimeout(talk.linger);
    talk.far.gone();
    talk.receiver?.response.end();
    this.talks.delete(talk.id);
  }
}
