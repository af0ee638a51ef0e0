/** What happens to the page and to the machine it is on. */

/**
 * Listens where there is something to listen to; a program without a window hears nothing.
 * @param {{ offline: () => void, online: () => void, frozen: () => void, resumed: () => void, shown: () => void, moved: () => void }} on @returns {() => void} stops
 */
export function watchPage(on) {
  const page = globalThis.document;
  const persisted = (/** @type {() => void} */ run) => (/** @type {any} */ event) => {
    if (event.persisted) run();
  };
  const resumed = () => {
    // A page that is frozen is not told that the network is back, by every browser.
    if (globalThis.navigator?.onLine !== false) on.online();
    on.resumed();
  };
  /** @type {[EventTarget | undefined, string, (event: Event) => void][]} */
  const watched = [
    [globalThis, 'offline', on.offline],
    [globalThis, 'online', on.online],
    // To and from the cache for going back, which does not take pages with open connections.
    [globalThis, 'pagehide', persisted(on.frozen)],
    [globalThis, 'pageshow', persisted(resumed)],
    // Another network, in browsers that tell.
    [/** @type {any} */ (globalThis.navigator)?.connection, 'change', on.moved],
    [page, 'freeze', on.frozen],
    [page, 'resume', resumed],
    [page, 'visibilitychange', () => page.hidden || on.shown()],
  ];
  for (const [target, type, listener] of watched) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of watched) target?.removeEventListener?.(type, listener);
  };
}
