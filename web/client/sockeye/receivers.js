/**
 * The three ways to hear over HTTP. Each is one response: `heard` is called with each frame, with nothing for a heartbeat; the promise
 * resolves when the response has ended, and rejects when there was none, or none of this kind.
 *
 * @typedef {(url: string, signal: AbortSignal, heard: (frame?: string) => void) => Promise<void>} Receive
 */

import { parse } from './border.js';
import { FALLBACK_AFTER_MS, RECEIVE_LIMIT, REFUSAL_LENGTH } from './limits.js';

/** The answer was not what was asked for. */
export class BadAnswer extends Error {
  /** @param {number} status 0 if it is not known @param {string} message @param {{ isServers?: boolean, retryAfter?: number | undefined }} [more] */
  constructor(status, message, { isServers = false, retryAfter } = {}) {
    super(message);
    this.status = status;
    /** Whether it is the server's own word, not that of something on the way. */
    this.isServers = isServers;
    this.retryAfter = retryAfter;
  }
}

/** Lines of one response that goes on. @type {Receive} */
export async function receiveStream(url, signal, heard) {
  const response = await atOnce(ask(url, signal));
  const reader = response.body?.getReader();
  if (!reader) throw new BadAnswer(response.status, 'no body');
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    // A line without its end was cut, and comes again.
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > RECEIVE_LIMIT) throw new BadAnswer(response.status, 'a line without an end');
    for (const line of lines) heard(line.trim() === '' ? undefined : line);
  }
}

/**
 * Events of an `EventSource`, which never says why it failed. It would come back by itself; but proxies drop `Last-Event-ID`.
 * @type {Receive}
 */
export function receiveEvents(url, signal, heard) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    const end = (/** @type {() => void} */ settle) => {
      source.close();
      settle();
    };
    signal.addEventListener('abort', () => end(resolve), { once: true });
    // Heartbeats are comments, of which a page hears nothing: that the server answers is the only sign of life of an idle line.
    source.onopen = () => heard();
    source.onmessage = ({ data }) => heard(data);
    source.onerror = () => end(source.readyState === EventSource.CLOSED ? () => reject(new BadAnswer(0, 'no stream of events')) : resolve);
  });
}

/** One answer, when there is something to say. @type {Receive} */
export async function receivePoll(url, signal, heard) {
  const response = await ask(url, signal);
  const frames = parse(await response.text());
  if (!Array.isArray(frames)) throw new BadAnswer(response.status, 'not a list');
  if (frames.length === 0) heard();
  for (const frame of frames) heard(JSON.stringify(frame));
}

/**
 * The head of a stream comes at once, or something on the way holds it back.
 * @template T @param {Promise<T>} response @returns {Promise<T>}
 */
async function atOnce(response) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new BadAnswer(0, 'held back')), FALLBACK_AFTER_MS);
  });
  try {
    return /** @type {T} */ (await Promise.race([response, late]));
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string} url @param {AbortSignal} signal */
async function ask(url, signal) {
  const response = await fetch(url, { signal, cache: 'no-store' });
  if (response.status !== 200) throw await refusal(response);
  if (isPage(response)) throw new BadAnswer(200, 'a page instead of messages');
  return response;
}

/** The server never answers with one; what asks for a login or an agreement does, and says that all is well. @param {Response} response */
export function isPage(response) {
  return response.headers.get('content-type')?.startsWith('text/html') ?? false;
}

/** What an answer that is a refusal says. @param {Response} response @returns {Promise<BadAnswer>} */
export async function refusal(response) {
  const text = await response.text().catch(() => '');
  const value = /** @type {any} */ (parse(text.slice(0, REFUSAL_LENGTH)));
  const error = value?.error;
  const said = typeof error === 'string' ? error : typeof error?.message === 'string' ? error.message : response.statusText;
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  return new BadAnswer(response.status, `HTTP ${response.status} ${said}`.trim(), {
    isServers: error !== undefined,
    retryAfter: seconds >= 0 ? seconds * 1000 : undefined,
  });
}
