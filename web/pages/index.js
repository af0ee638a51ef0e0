/** The front page: the addresses of this very server, and a message to itself every two seconds as a sign of life. */

import { openLiveSocket, socketAddress } from './live-socket.js';
import { element } from './shell.js';

const PULSE_MS = 2000;

for (const code of document.querySelectorAll('code[data-path]')) {
  if (!(code instanceof HTMLElement)) continue;
  code.textContent = `${code.dataset.before ?? ''}${socketAddress(location, code.dataset.path)}${code.dataset.after ?? ''}`;
}

const pulse = element('pulse', HTMLElement);
/** @type {number | undefined} */
let sentAt;

const live = openLiveSocket({
  path: '/echo',
  onState: (state) => {
    sentAt = undefined;
    pulse.textContent = '';
    if (state.name === 'open') beat();
  },
  onMessage: () => {
    if (sentAt === undefined) return;
    const ms = performance.now() - sentAt;
    sentAt = undefined;
    pulse.textContent = `It answers this page in ${ms < 0.1 ? 'less than 0.1' : ms.toFixed(1)} ms.`;
  },
});

function beat() {
  if (document.hidden || sentAt !== undefined) return;
  const now = performance.now();
  if (live.send('pulse')) sentAt = now;
}

setInterval(beat, PULSE_MS);
