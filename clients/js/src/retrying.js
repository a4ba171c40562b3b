// Trying again: after growing pauses, never while the device is offline, and only what may succeed.

import { problemOf } from './problem.js';

/** @import { Connectivity } from './connectivity.js' */

export const DEFAULT_DELAYS_MS = [1_000, 2_000, 4_000, 8_000, 16_000];
// Up to this share longer, so that many devices do not come back in one moment.
const JITTER = 0.25;

/**
 * @typedef {object} Patience
 * @property {() => readonly number[]} delaysMs pauses between tries; one more try than pauses
 * @property {Connectivity} connectivity
 * @property {(milliseconds: number, signal?: AbortSignal) => Promise<void>} [sleep]
 */

/**
 * Runs `attempt` until it succeeds, fails for good, or has used up the pauses. It hears how often it was run before.
 * Tries that fail while the device is offline are not counted: it goes on when the network is back.
 * @template T
 * @param {(failures: number) => Promise<T>} attempt
 * @param {Patience} patience
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function persistently(attempt, { delaysMs, connectivity, sleep = pause }, signal) {
  let used = 0;
  for (let failures = 0; ; failures += 1) {
    await connectivity.untilOnline(signal);
    try {
      return await attempt(failures);
    } catch (thrown) {
      signal?.throwIfAborted();
      const problem = problemOf(thrown);
      if (!problem.retryable) throw problem;
      if (connectivity.isOffline()) continue;
      const delay = delaysMs()[used];
      if (delay === undefined) throw problem;
      used += 1;
      await sleep(Math.max(delay * (1 + JITTER * Math.random()), problem.retryAfterMs), signal);
    }
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/**
 * `promise`, or the signal's reason if that comes first; the promise itself goes on for others.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
