// One at a time, across tabs: https://w3c.github.io/web-locks/. Where there are no locks, within this page at least.

import { unlessAborted } from './retrying.js';

export class Exclusion {
  /** @type {Map<string, Promise<unknown>>} */
  #held = new Map();

  /**
   * Runs `work` when nobody else works under this name; it hears whether it had to wait.
   * @template T
   * @param {string} name
   * @param {(hadToWait: boolean) => Promise<T>} work
   * @param {AbortSignal} [signal] ends the waiting, not the work
   * @returns {Promise<T>}
   */
  async run(name, work, signal = new AbortController().signal) {
    const locks = globalThis.navigator?.locks;
    if (!locks) return this.#runWithinThisPage(name, work, signal);
    /** @type {T[]} */
    const result = [];
    const isDone = await locks.request(name, { ifAvailable: true }, async (lock) => {
      if (lock) result.push(await work(false));
      return lock !== null;
    });
    if (!isDone) await locks.request(name, { signal }, async () => { result.push(await work(true)); });
    return /** @type {T} */ (result[0]);
  }

  /**
   * @template T
   * @param {string} name
   * @param {(hadToWait: boolean) => Promise<T>} work
   * @param {AbortSignal} signal
   * @returns {Promise<T>}
   */
  async #runWithinThisPage(name, work, signal) {
    let hadToWait = false;
    for (let other = this.#held.get(name); other; other = this.#held.get(name)) {
      hadToWait = true;
      await unlessAborted(other.catch(() => {}), signal);
    }
    const working = work(hadToWait);
    this.#held.set(name, working);
    try {
      return await working;
    } finally {
      this.#held.delete(name);
    }
  }
}
