// What the service recommends for this purpose on this network, asked once for each.

import { DEFAULT_DELAYS_MS } from './retrying.js';

/**
 * @import { Connectivity } from './connectivity.js'
 * @import { MediaApi } from './media-api.js'
 * @import { UploadPolicy } from './types.js'
 */

const MOST_AT_ONCE = 3;

/** Used until the service has answered, and where it does not: careful, and refusing nothing. @type {UploadPolicy} */
const CAUTIOUS = {
  maxBytes: Number.MAX_SAFE_INTEGER,
  maxClipBytes: Number.MAX_SAFE_INTEGER,
  maxClipDurationMs: Number.MAX_SAFE_INTEGER,
  maxDimension: 1440,
  jpegQuality: 80,
  multipartThreshold: 16_000_000,
  maxConcurrentUploads: MOST_AT_ONCE,
  maxConcurrentParts: MOST_AT_ONCE,
  retryDelaysMs: DEFAULT_DELAYS_MS,
};

export class Policies {
  #api;
  #connectivity;
  /** @type {Map<string, Promise<UploadPolicy>>} */
  #asked = new Map();
  /** @type {UploadPolicy} the one that was asked for last */
  current = CAUTIOUS;

  /**
   * @param {MediaApi} api
   * @param {Connectivity} connectivity
   */
  constructor(api, connectivity) {
    this.#api = api;
    this.#connectivity = connectivity;
  }

  /** Files at once: the policy's number, but never more than three. */
  get filesAtOnce() {
    return Math.min(Math.max(this.current.maxConcurrentUploads, 1), MOST_AT_ONCE);
  }

  /** Parts of one file at once, likewise. */
  get partsAtOnce() {
    return Math.min(Math.max(this.current.maxConcurrentParts, 1), MOST_AT_ONCE);
  }

  /**
   * Recommendations must never hold up an upload: without an answer there are cautious ones.
   * @param {string} purpose
   * @returns {Promise<UploadPolicy>}
   */
  async of(purpose) {
    const network = this.#connectivity.quality();
    const name = `${purpose}/${network}`;
    const asking = this.#asked.get(name) ?? this.#api.uploadPolicy(purpose, network);
    this.#asked.set(name, asking);
    try {
      this.current = await asking;
    } catch {
      this.#asked.delete(name);
    }
    return this.current;
  }
}
