/** As much of an `EventSource` as the JavaScript client uses, for Node, which has none. It does not come back by itself. */

export class EventSource {
  static CONNECTING = 0;
  static CLOSED = 2;
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: { data: string }) => void) | null} */
  onmessage = null;
  /** @type {(() => void) | null} */
  onerror = null;
  readyState = EventSource.CONNECTING;
  #life = new AbortController();

  /** @param {string} url */
  constructor(url) {
    this.#listen(url).then(() => this.#fail(EventSource.CONNECTING), () => this.#fail(EventSource.CONNECTING));
  }

  close() {
    this.readyState = EventSource.CLOSED;
    this.#life.abort();
  }

  /** @param {string} url */
  async #listen(url) {
    const response = await fetch(url, { signal: this.#life.signal, cache: 'no-store', headers: { accept: 'text/event-stream' } });
    if (!response.ok || !response.headers.get('content-type')?.startsWith('text/event-stream')) return this.#fail(EventSource.CLOSED);
    this.onopen?.();
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of response.body ?? []) {
      const events = (rest + decoder.decode(chunk, { stream: true })).split('\n\n');
      rest = events.pop() ?? '';
      for (const event of events) {
        const data = event.split('\n').flatMap((line) => (line.startsWith('data:') ? line.slice(5).replace(/^ /, '') : []));
        if (data.length > 0 && !this.#life.signal.aborted) this.onmessage?.({ data: data.join('\n') });
      }
    }
  }

  /** @param {number} readyState */
  #fail(readyState) {
    if (this.#life.signal.aborted) return;
    this.readyState = readyState;
    this.onerror?.();
  }
}
