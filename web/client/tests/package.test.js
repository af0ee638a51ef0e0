/** What is published: the module, its types and nothing stale. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as client from '../sockeye.js';
import { FakeSocket } from './world.js';

const run = promisify(execFile);
const FOLDER = fileURLToPath(new URL('..', import.meta.url));
const read = (/** @type {string} */ name) => readFile(join(FOLDER, name), 'utf8');

/** A program against the shipped types, without those of a browser. */
const PROGRAM = `
import { connect, SockeyeError, type Client, type Lost, type Message, type Position } from 'sockeye-client';
const client: Client = connect('ws://h/', { getToken: async () => 'token', timeout: 5000 });
client.onstate = ({ state }) => { if (state.name === 'waiting') state.until.toFixed(); };
const room = client.subscribe('chat:lobby', { last: 20, as: { name: 'Ann' } });
room.addEventListener('message', ({ data, from, own }: Message) => [data.text, from?.user, own], { once: true });
room.onmembers = ({ members }) => [...members.values()].map((member) => member.as);
for await (const item of room) {
  if (item.type === 'lost') { const lost: Lost = item; lost.reason.trim(); } else item.data;
}
const position: Position | undefined = await room.publish({ text: 'hi' }, { event: 'said' }).catch((error: SockeyeError) => { error.retryAfter?.toFixed(); return undefined; });
position?.offset.toFixed();
// @ts-expect-error a misspelt option
room.publish(1, { volatil: true });
// @ts-expect-error nobody else moves it
room.position = { epoch: 'e', offset: 1 };
`;

test('the types name what the module exports, and nothing else', async () => {
  const types = await read('sockeye.d.ts');
  const declared = [...types.matchAll(/^export declare (?:const|function|class) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(client).sort());
});

test('the types name the members of a client and of a subscription', async (t) => {
  const types = await read('sockeye.d.ts');
  const socket = client.connect('ws://h/', { WebSocket: FakeSocket });
  t.after(() => socket.close());
  const subscription = socket.subscribe('chat');
  for (const [name, object] of /** @type {[string, object][]} */ ([['Client', socket], ['Subscription', subscription]])) {
    const block = types.match(new RegExp(`^export interface ${name} [^]*?^}`, 'm'))?.[0] ?? '';
    const declared = [...block.matchAll(/^ {2}(?:readonly )?(\w+)(?=[:(])/gm)].map(([, member]) => member);
    const own = [...Object.getOwnPropertyNames(Object.getPrototypeOf(object)), ...Object.keys(object)];
    assert.deepEqual(declared.sort(), own.filter((member) => member !== 'constructor').sort(), name);
  }
});

test('a stranger installs what is packed, and its types hold without a browser', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'sockeye-client-'));
  t.after(() => rm(folder, { recursive: true }));
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: FOLDER });
  const [{ files, filename }] = JSON.parse(stdout);
  const modules = (await readdir(join(FOLDER, 'sockeye'))).map((name) => `sockeye/${name}`);
  assert.deepEqual(files.map((/** @type {{ path: string }} */ file) => file.path).sort(), ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', 'sockeye.d.ts', 'sockeye.js', ...modules].sort());
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(folder, filename)], { cwd: folder });
  const script = `import { connect } from 'sockeye-client'; connect('ws://127.0.0.1:1/', { WebSocket: class { close() {} } }).close(); console.log('imported');`;
  assert.equal((await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: folder })).stdout.trim(), 'imported');
  await writeFile(join(folder, 'program.ts'), PROGRAM);
  const tsc = fileURLToPath(new URL('../../node_modules/.bin/tsc', import.meta.url));
  const options = ['--ignoreConfig', '--strict', '--noEmit', '--exactOptionalPropertyTypes', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2023', '--types', ''];
  await run(tsc, [...options, 'program.ts'], { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
});

test('the licences are those of the project', async () => {
  for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) assert.equal(await read(name), await read(join('..', '..', name)));
});

test('the modules do what they say: no dependencies, nothing evaluated, nothing sent to the console', async () => {
  const modules = await readdir(join(FOLDER, 'sockeye'));
  for (const name of ['sockeye.js', ...modules.map((module) => join('sockeye', module))]) {
    const source = await read(name);
    assert.doesNotMatch(source, /\beval\(|new Function|\bimport\(|console\./m, name);
    for (const [, from] of source.matchAll(/^(?:import|export) .*from '(.*)';$/gm)) assert.match(from ?? '', /^\.\/(sockeye\/)?[a-z]+\.js$/, name);
    assert.ok(source.split('\n').length <= 600, `${name} is longer than 600 lines`);
  }
  assert.equal(JSON.parse(await read('package.json')).dependencies, undefined);
});
