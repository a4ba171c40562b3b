// A few at a time, so that the first is there soon.

import { unlessAborted } from './retrying.js';

export class Slots {
  #taken = 0;
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {() => number} limit asked each time a slot is wanted */
  constructor(limit) {
    this.limit = limit;
  }

  /**
   * Runs `job` when there is a slot; rejects with the signal's reason if it is aborted before.
   * @template T
   * @param {() => Promise<T>} job
   * @param {AbortSignal} signal
   * @returns {Promise<T>}
   */
  async run(job, signal) {
    while (this.#taken >= this.limit()) {
      /** @type {PromiseWithResolvers<void>['resolve']} */
      let wake = () => {};
      const turn = /** @type {Promise<void>} */ (new Promise((resolve) => { wake = resolve; }));
      this.#waiting.push(wake);
      try {
        await unlessAborted(turn, signal);
      } catch (reason) {
        this.#forget(wake);
        throw reason;
      }
    }
    signal.throwIfAborted();
    this.#taken += 1;
    try {
      return await job();
    } finally {
      this.#taken -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** @param {() => void} wake */
  #forget(wake) {
    const at = this.#waiting.indexOf(wake);
    // Woken and aborted at once: the turn goes to the next.
    if (at < 0) this.#waiting.shift()?.();
    else this.#waiting.splice(at, 1);
  }
}
