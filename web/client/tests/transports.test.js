/** Conversations over HTTP: nothing is lost and nothing comes twice, whatever is cut. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everythingArrives, opened, road, within } from './road.js';

const OVER_HTTP = /** @type {const} */ (['stream', 'poll']);

for (const transport of OVER_HTTP) {
  test(`${transport}: each publication is heard once and in order`, async (t) => {
    const { carrier, dial } = await road(t, {}, { transports: [transport] });
    const client = dial();
    assert.equal(await opened(client), transport);
    await everythingArrives(client, 100);
    assert.equal(carrier.talks.size, 1);
    assert.ok(carrier.heard.every((text) => typeof JSON.parse(text) === 'object'));
  });

  test(`${transport}: responses cut again and again cost no session, no message, and double none`, async (t) => {
    const { carrier, proxy, dial } = await road(t, {}, { transports: [transport] });
    const client = dial();
    await opened(client);
    const session = client.state.name === 'open' ? client.state.session : '';
    await everythingArrives(client, 60, (number) => {
      if (number % 5 === 0) proxy.cut();
    });
    assert.equal(client.state.name === 'open' && client.state.session, session, 'the same conversation');
    assert.equal(carrier.hub.channel('chat:lobby').log.length, 60);
  });

  test(`${transport}: idle behind a proxy that cuts what is idle, it is the same session after a while`, async (t) => {
    const { carrier, dial } = await road(t, { cutAfterMs: 700 }, { transports: [transport] });
    const client = dial();
    await opened(client);
    const session = client.state.name === 'open' ? client.state.session : '';
    await new Promise((resolve) => setTimeout(resolve, 7_000));
    await everythingArrives(client, 10);
    assert.equal(client.state.name === 'open' && client.state.session, session);
    assert.equal(carrier.talks.size, 1);
  });

  test(`${transport}: a POST that a proxy makes twice counts once`, async (t) => {
    const { carrier, dial } = await road(t, { twice: true }, { transports: [transport] });
    const client = dial();
    await everythingArrives(client, 20);
    const publications = carrier.heard.filter((text) => text.includes('"publish"'));
    assert.equal(publications.length, 20, 'the server was not even asked twice');
  });

  test(`${transport}: an answer that is lost is asked for again, and what was sent is not done twice`, async (t) => {
    const { carrier, dial } = await road(t, {}, { transports: [transport] });
    let posts = 0;
    carrier.answers = (request, response) => {
      if (!request.url?.includes('/send') || ++posts % 3 !== 0) return false;
      // It goes on to the server; the answer does not come back.
      setImmediate(() => response.destroy());
      return false;
    };
    await everythingArrives(dial(), 30);
    assert.equal(carrier.heard.filter((text) => text.includes('"publish"')).length, 30);
  });

  test(`${transport}: a server that is busy for a moment is asked again`, async (t) => {
    const { carrier, dial } = await road(t, {}, { transports: [transport] });
    let posts = 0;
    carrier.answers = (request, response) => {
      if (!request.url?.includes('/send') || ++posts % 4 !== 0) return false;
      response.writeHead(503, { 'retry-after': '0' }).end('{"error":{"code":"unavailable"}}');
      return true;
    };
    await everythingArrives(dial(), 12);
  });

  test(`${transport}: what was away for too long is a new conversation, and goes on where it was`, async (t) => {
    const { carrier, dial } = await road(t, {}, { transports: [transport] });
    const client = dial();
    await everythingArrives(client, 30, (number) => {
      if (number !== 15) return;
      carrier.talks.clear();
      carrier.cut();
    });
    assert.equal(carrier.talks.size, 1);
  });

  test(`${transport}: closed, the server knows at once`, async (t) => {
    const { carrier, proxy, dial } = await road(t, {}, { transports: [transport] });
    const client = dial();
    await opened(client);
    assert.equal(carrier.talks.size, 1);
    client.close();
    await within((async () => {
      while (carrier.talks.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    })(), () => 'gone', 2000);
    assert.ok(proxy.seen.includes('POST /ws/leave'));
  });
}

test('stream: a response that ends after so much is followed by the next', async (t) => {
  const { carrier, proxy, dial } = await road(t, {}, { transports: ['stream'] });
  carrier.streamLimit = 7;
  await everythingArrives(dial(), 50);
  assert.ok(proxy.seen.filter((request) => request === 'GET /ws/stream').length >= 5);
});

test('stream: a line that was cut in its middle comes again, whole', async (t) => {
  const { proxy, dial } = await road(t, { cutAfterBytes: 300 }, { transports: ['stream'] });
  await everythingArrives(dial(), 30);
  assert.ok(proxy.seen.filter((request) => request === 'GET /ws/stream').length >= 5);
});

test('what is sent in one turn is one POST, and what comes meanwhile is the next', async (t) => {
  const { proxy, dial } = await road(t, {}, { transports: ['stream'] });
  const client = dial();
  await opened(client);
  const before = proxy.seen.length;
  await Promise.all(Array.from({ length: 50 }, (_, number) => client.publish(`channel:${number}`, number)));
  assert.equal(proxy.seen.slice(before).filter((request) => request === 'POST /ws/send').length, 1);
});

test('a receiver that a proxy asked for twice takes its place back', async (t) => {
  const { carrier, dial } = await road(t, {}, { transports: ['stream'] });
  const client = dial();
  await opened(client);
  const { session } = /** @type {{ session: string }} */ (client.state);
  const [talk] = carrier.talks.values();
  const response = await fetch(`${carrier.url.replace('ws:', 'http:')}/stream?id=${talk?.id}&received=0`);
  await everythingArrives(client, 10);
  assert.equal(/** @type {{ session: string }} */ (client.state).session, session);
  await response.text();
});

test('4009 that is meant so is final', async (t) => {
  const { carrier, dial } = await road(t, {}, { transports: ['stream'] });
  const client = dial();
  await opened(client);
  carrier.answers = (request, response) => {
    if (!request.url?.includes('/stream')) return false;
    response.writeHead(200, { 'content-type': 'application/x-ndjson' }).end('{"close":{"code":4009,"reason":"replaced by another connection"}}\n');
    return true;
  };
  carrier.cut();
  await within(new Promise((resolve) => client.addEventListener('state', ({ state }) => state.name === 'closed' && resolve(state))), () => 'closed');
  assert.equal(client.state.name === 'closed' && client.state.error?.code, 'replaced');
});
