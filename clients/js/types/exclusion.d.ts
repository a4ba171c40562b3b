export class Exclusion {
    /**
     * Runs `work` when nobody else works under this name; it hears whether it had to wait.
     * @template T
     * @param {string} name
     * @param {(hadToWait: boolean) => Promise<T>} work
     * @param {AbortSignal} [signal] ends the waiting, not the work
     * @returns {Promise<T>}
     */
    run<T>(name: string, work: (hadToWait: boolean) => Promise<T>, signal?: AbortSignal): Promise<T>;
    #private;
}
