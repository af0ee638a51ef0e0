/**
 * An echo server on the npm package `ws`, for tests of our client. What it does besides is chosen by the path:
 *
 *   /fragments   the echo comes in up to three fragments
 *   /ping        the echo comes after the answer to a ping
 *   /thrice      the echo comes three times
 *   /kind        answers the kind and the size of each message
 *   /protocol    answers the selected subprotocol
 *   /headers     answers the headers X-Interop and Origin
 *   /last-code   answers the close code of the connection that ended last
 *   /close/CODE  closes with that code at the first message
 *   /cut         cuts the connection at the first message
 *
 * The argument, if there is one, is the options of its compression as JSON; without it there is none.
 * `echo_websockets.py` does the same in Python.
 */

import { WebSocketServer } from 'ws';

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  maxPayload: 64 << 20,
  perMessageDeflate: process.argv[2] ? JSON.parse(process.argv[2]) : false,
  handleProtocols: (offered) => (offered.has('json') ? 'json' : false),
});
let lastCode = 0;

server.on('connection', (socket, request) => {
  const path = request.url ?? '/';
  socket.on('error', () => {});
  // A question about the last code is not an answer to the next one.
  socket.on('close', (code) => { if (path !== '/last-code') lastCode = code; });
  socket.on('message', (data, binary) => {
    const bytes = /** @type {Buffer} */ (data);
    if (path === '/fragments') sendFragments(socket, bytes, binary);
    else if (path === '/ping') {
      const payload = String(bytes.length);
      socket.once('pong', (answer) => { if (answer.toString() === payload) socket.send(bytes, { binary }); });
      socket.ping(payload);
    } else if (path === '/thrice') for (let i = 0; i < 3; i += 1) socket.send(bytes, { binary });
    else if (path === '/kind') socket.send(`${binary ? 'binary' : 'text'} ${bytes.length}`);
    else if (path === '/protocol') socket.send(socket.protocol);
    else if (path === '/headers') socket.send(`${request.headers['x-interop']} ${request.headers.origin}`);
    else if (path === '/last-code') socket.send(String(lastCode));
    else if (path.startsWith('/close/')) socket.close(Number(path.slice('/close/'.length)), 'as asked');
    else if (path === '/cut') socket.terminate();
    else socket.send(bytes, { binary });
  });
});

/**
 * @param {import('ws').WebSocket} socket
 * @param {Buffer} bytes
 * @param {boolean} binary
 */
function sendFragments(socket, bytes, binary) {
  const cut = Math.floor(bytes.length / 3);
  socket.send(bytes.subarray(0, cut), { binary, fin: false });
  socket.send(bytes.subarray(cut, cut * 2), { fin: false });
  socket.ping('between');
  socket.send(bytes.subarray(cut * 2), { fin: true });
}

server.on('listening', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(`listening on ws://127.0.0.1:${port}/`);
});
process.on('SIGTERM', () => process.exit(0));
