/** A server that says what the test says, and time that passes when the test says so: no network, no waiting. */

import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { connect } from '../sockeye.js';

/** @typedef {import('../sockeye.js').ConnectOptions} ConnectOptions */
/** @typedef {Record<string, any>} Json */

/** Both ends of one connection: the client holds it as a WebSocket, the test as the server. */
export class FakeSocket {
  /** @type {FakeSocket[]} */
  static all = [];
  bufferedAmount = 0;
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  /** @type {((event: any) => void) | null} */
  onerror = null;
  /** Every message as it was written. @type {string[]} */
  written = [];
  /** What the client closed it with. @type {number | undefined} */
  closedWith;
  #read = 0;

  /**
   * @param {string} url
   * @param {string[]} protocols
   */
  constructor(url, protocols) {
    this.url = url;
    assert.deepEqual(protocols, ['sockeye.v1.json']);
    FakeSocket.all.push(this);
  }

  /** @param {string} data */
  send(data) {
    assert.equal(typeof data, 'string');
    this.written.push(data);
  }

  /** @param {number} [code] */
  close(code) {
    this.closedWith ??= code;
  }

  /** The commands since the last call. @returns {Json[]} */
  take() {
    const messages = this.written.slice(this.#read);
    this.#read = this.written.length;
    return messages.flatMap((message) => JSON.parse(message));
  }

  /** One message; several objects as an array. @param {...Json} objects */
  say(...objects) {
    this.onmessage?.({ data: JSON.stringify(objects.length === 1 ? objects[0] : objects) });
  }

  /** Not even JSON, perhaps. @param {unknown} data */
  blurt(data) {
    this.onmessage?.({ data });
  }

  /**
   * The connection ends.
   * @param {number} [code]
   * @param {string} [reason]
   */
  drop(code = 1006, reason = '') {
    this.onclose?.({ code, reason });
  }
}

/**
 * Time stands still from now on and chance is what `random` says.
 * @param {import('node:test').TestContext} test
 * @param {ConnectOptions} [options]
 * @param {() => number} [random]
 */
export function world(test, options = {}, random = () => 1) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_732_147_200_000 });
  mock.method(Math, 'random', random);
  FakeSocket.all = [];
  const client = connect('ws://here.example/ws', { WebSocket: FakeSocket, transports: ['websocket'], ...options });
  /** @type {string[]} */
  const states = [client.state.name];
  /** @type {string[]} */
  const errors = [];
  client.onstate = ({ state }) => states.push(state.name);
  client.onerror = ({ error }) => errors.push(error.code);
  test.after(() => {
    client.close();
    mock.timers.reset();
    mock.restoreAll();
  });
  const socket = () => {
    const last = FakeSocket.all.at(-1);
    assert.ok(last);
    return last;
  };
  return { client, states, errors, socket, count: () => FakeSocket.all.length };
}

/** Everything that can happen without time passing has happened. */
export async function settle() {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** @param {number} ms */
export async function pass(ms) {
  await settle();
  mock.timers.tick(ms);
  await settle();
}

/**
 * The server accepts and greets. What the client says then is left to `take`.
 * @param {FakeSocket} socket
 * @param {Json} [ok]
 */
export async function greet(socket, ok = { session: 's1' }) {
  socket.onopen?.({});
  await settle();
  const [command, ...others] = socket.take();
  assert.ok(command?.connect);
  assert.deepEqual(others, [], 'nothing else leaves before the greeting');
  socket.say({ id: command.id, ok });
  await settle();
}

/**
 * The server agrees to the only command that waits.
 * @param {FakeSocket} socket
 * @param {Json} [ok]
 * @param {...Json} more what follows in the same message
 * @returns {Promise<Json>} the command
 */
export async function agree(socket, ok = {}, ...more) {
  await settle();
  const [command, ...others] = socket.take();
  assert.ok(command, 'a command');
  assert.deepEqual(others, [], 'one command');
  socket.say({ id: command.id, ok }, ...more);
  await settle();
  const { id, ...rest } = command;
  return rest;
}

/**
 * The server says no to the only command that waits.
 * @param {FakeSocket} socket
 * @param {string} code
 * @param {Json} [more]
 */
export async function refuse(socket, code, more = {}) {
  await settle();
  const [command, ...others] = socket.take();
  assert.ok(command, 'a command');
  assert.deepEqual(others, [], 'one command');
  socket.say({ id: command.id, error: { code, message: 'no', ...more } });
  await settle();
}

/** How long the client waits now, in milliseconds. @param {import('../sockeye.js').Client} client */
export function pause(client) {
  assert.equal(client.state.name, 'waiting');
  return client.state.name === 'waiting' ? client.state.until - Date.now() : 0;
}
