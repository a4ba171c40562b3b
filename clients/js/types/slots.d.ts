export class Slots {
    /** @param {() => number} limit asked each time a slot is wanted */
    constructor(limit: () => number);
    limit: () => number;
    /**
     * Runs `job` when there is a slot; rejects with the signal's reason if it is aborted before.
     * @template T
     * @param {() => Promise<T>} job
     * @param {AbortSignal} signal
     * @returns {Promise<T>}
     */
    run<T>(job: () => Promise<T>, signal: AbortSignal): Promise<T>;
    #private;
}
