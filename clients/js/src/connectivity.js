// What the browser knows of the network: https://wicg.github.io/netinfo/ where there is one.

/** @type {Record<string, string>} */
const QUALITY = { 'slow-2g': 'SLOW_2G', '2g': 'TWO_G', '3g': 'THREE_G', '4g': 'FOUR_G' };

/**
 * @typedef {object} Connectivity
 * @property {() => boolean} isOffline
 * @property {(signal?: AbortSignal) => Promise<void>} untilOnline rejects with the signal's reason
 * @property {() => string} quality a NetworkQuality of the schema
 */

/** @type {Connectivity} */
export const browserConnectivity = { isOffline, untilOnline, quality };

function isOffline() {
  return globalThis.navigator?.onLine === false;
}

/** @param {AbortSignal} [signal] */
async function untilOnline(signal) {
  signal?.throwIfAborted();
  if (!isOffline()) return;
  const listening = new AbortController();
  try {
    await new Promise((resolve, reject) => {
      globalThis.addEventListener('online', resolve, { signal: listening.signal });
      signal?.addEventListener('abort', () => reject(signal.reason), { signal: listening.signal });
    });
  } finally {
    listening.abort();
  }
}

function quality() {
  // Not in TypeScript's own library: only Chromium has it.
  const connection = /** @type {any} */ (globalThis.navigator)?.connection;
  if (connection?.type === 'wifi' || connection?.type === 'ethernet') return 'WIFI';
  return QUALITY[connection?.effectiveType] ?? 'UNKNOWN';
}
