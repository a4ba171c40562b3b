/**
 * @typedef {object} Connectivity
 * @property {() => boolean} isOffline
 * @property {(signal?: AbortSignal) => Promise<void>} untilOnline rejects with the signal's reason
 * @property {() => string} quality a NetworkQuality of the schema
 */
/** @type {Connectivity} */
export const browserConnectivity: Connectivity;
export type Connectivity = {
    isOffline: () => boolean;
    /**
     * rejects with the signal's reason
     */
    untilOnline: (signal?: AbortSignal) => Promise<void>;
    /**
     * a NetworkQuality of the schema
     */
    quality: () => string;
};
