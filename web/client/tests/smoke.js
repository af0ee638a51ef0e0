/**
 * The client on a real socket, in whichever of Node, Deno and Bun runs this: `node smoke.js ws://…`, `deno run --allow-net smoke.js ws://…`,
 * `bun smoke.js ws://…`. smoke.test.js has the server. It ends by itself with 0, or it does not: then something was left running.
 */

import { connect } from '../sockeye.js';

const url = (globalThis.process?.argv ?? Reflect.get(globalThis, 'Deno').args).at(-1) ?? '';
// Node has one of its own from 22 on.
const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket;

/** @param {unknown} actual @param {unknown} expected */
function equal(actual, expected) {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) throw new Error(`${JSON.stringify(actual)} is not ${JSON.stringify(expected)}`);
}

const ann = connect(url, { WebSocket, name: 'smoke/1' });
const bob = connect(url, { WebSocket });
const room = bob.subscribe('chat:lobby', { as: { name: 'Bob' } });
await room.ready;
equal([...room.members.values()].map(({ as }) => as), [{ name: 'Bob' }]);

const published = (async () => {
  for (let number = 1; number <= 40; number++) {
    await ann.publish('chat:lobby', number % 2 ? { number } : new Uint8Array([number]));
    // The server drops everybody, in the middle of it.
    if (number === 20) ann.call('drop').catch(() => {});
  }
})();

const heard = [];
for await (const item of room) {
  if (item.type === 'lost') throw new Error(`lost: ${item.reason}`);
  heard.push(item.data instanceof Uint8Array ? item.data[0] : item.data.number);
  if (heard.length === 40) break;
}
await published;
equal(heard, Array.from({ length: 40 }, (_, index) => index + 1));
equal(room.position?.offset, 40);

const { items, more } = await room.history({ limit: 2, reverse: true });
equal([items[0]?.data[0], items[1]?.data.number, more], [40, 39, true]);
equal((await room.presence()).count, 1);
ann.close();
bob.close();
console.log('smoke: ok');
