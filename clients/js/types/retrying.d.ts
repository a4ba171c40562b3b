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
export function persistently<T>(attempt: (failures: number) => Promise<T>, { delaysMs, connectivity, sleep }: Patience, signal?: AbortSignal): Promise<T>;
/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void>;
/**
 * `promise`, or the signal's reason if that comes first; the promise itself goes on for others.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T>;
/** @import { Connectivity } from './connectivity.js' */
export const DEFAULT_DELAYS_MS: number[];
export type Patience = {
    /**
     * pauses between tries; one more try than pauses
     */
    delaysMs: () => readonly number[];
    connectivity: Connectivity;
    sleep?: ((milliseconds: number, signal?: AbortSignal) => Promise<void>) | undefined;
};
import type { Connectivity } from './connectivity.js';
