/** The front page: the addresses of this very server, and a question every two seconds as a sign of life. */

import { client } from './channel.js';
import { pageStatus, socketAddress } from './live-socket.js';
import { element } from './shell.js';

const PULSE_MS = 2000;
const CHANNEL = 'pulse';

for (const code of document.querySelectorAll('code[data-path]')) {
  if (!(code instanceof HTMLElement)) continue;
  code.textContent = `${code.dataset.before ?? ''}${socketAddress(location, code.dataset.path)}${code.dataset.after ?? ''}`;
}

const pulse = element('pulse', HTMLElement);
const show = pageStatus();
let isBeating = false;

client.addEventListener('state', changed);
changed();
setInterval(beat, PULSE_MS);

function changed() {
  show(client.state);
  pulse.textContent = '';
  beat();
}

async function beat() {
  const { state } = client;
  if (document.hidden || isBeating || state.name !== 'open') return;
  isBeating = true;
  const sentAt = performance.now();
  const isAnswered = await client.presence(CHANNEL, { limit: 0 }).then(() => true, () => false);
  const ms = performance.now() - sentAt;
  isBeating = false;
  // What was asked again over a new connection says nothing about either.
  if (!isAnswered || client.state !== state) return;
  pulse.textContent = `It answers this page in ${ms < 0.1 ? 'less than 0.1' : ms.toFixed(1)} ms.`;
}
