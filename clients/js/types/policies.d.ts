export class Policies {
    /**
     * @param {MediaApi} api
     * @param {Connectivity} connectivity
     */
    constructor(api: MediaApi, connectivity: Connectivity);
    /** @type {UploadPolicy} the one that was asked for last */
    current: UploadPolicy;
    /** Files at once: the policy's number, but never more than three. */
    get filesAtOnce(): number;
    /** Parts of one file at once, likewise. */
    get partsAtOnce(): number;
    /**
     * Recommendations must never hold up an upload: without an answer there are cautious ones.
     * @param {string} purpose
     * @returns {Promise<UploadPolicy>}
     */
    of(purpose: string): Promise<UploadPolicy>;
    #private;
}
import type { UploadPolicy } from './types.js';
import type { MediaApi } from './media-api.js';
import type { Connectivity } from './connectivity.js';
