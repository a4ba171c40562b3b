// Files that are announced together, with one idempotency key: asking again plans nothing twice.

import { contentTypeOf } from './content-type.js';
import { sha256 } from './digest.js';
import { Problem, problemOf } from './problem.js';
import { resized } from './resizing.js';
import { persistently } from './retrying.js';
import { withTwin } from './twins.js';

/**
 * @import { MediaApi } from './media-api.js'
 * @import { Policies } from './policies.js'
 * @import { Patience } from './retrying.js'
 * @import { CreateUploadsInput, FileDescription, Outcome, UploadPolicy } from './types.js'
 * @import { UploadRecord, UploadStore } from './upload-store.js'
 */

/** @type {Outcome} */
const NOTHING = { upload: null, duplicate: null, userErrors: [] };

/** As many as the service takes in one call. */
export const MOST_FILES = 20;

/**
 * @typedef {object} Planning
 * @property {MediaApi} api
 * @property {{ current: UploadStore }} store
 * @property {Policies} policies
 * @property {Patience} patience
 * @property {number} digestUpTo bytes
 * @property {boolean} resize
 */

export class Batch {
  #records;
  #planning;
  /** @type {Promise<Outcome[]> | undefined} */
  #outcomes;
  /** @type {Map<string, Problem>} */
  #unreadable = new Map();

  /**
   * @param {UploadRecord[]} records of one group: either all without a batch, or all of the same
   * @param {Planning} planning
   */
  constructor(records, planning) {
    this.#records = records;
    this.#planning = planning;
  }

  /** Whether the service may know of these files. */
  get isAsked() {
    return this.#outcomes !== undefined;
  }

  /**
   * What the service made of one file. The first to ask asks for all.
   * @param {UploadRecord} record
   * @returns {Promise<Outcome>}
   */
  async outcome(record) {
    this.#outcomes ??= this.#create().catch((problem) => {
      this.#outcomes = undefined;
      throw problem;
    });
    const outcomes = await this.#outcomes;
    const problem = this.#unreadable.get(record.id);
    if (problem) throw problem;
    // Cancelled before it was announced.
    if (!record.batch) return NOTHING;
    return withTwin(/** @type {Outcome} */ (outcomes[record.batch.index]), outcomes);
  }

  /** Ask again the next time, in the same words. */
  renew() {
    this.#outcomes = undefined;
    this.#unreadable.clear();
  }

  async #create() {
    const input = this.#records.find(({ batch }) => batch)?.batch?.input ?? (await this.#describe());
    if (!input.files.length) return [];
    const { api, patience } = this.#planning;
    return persistently(() => api.createUploads(input), patience);
  }

  /** @returns {Promise<CreateUploadsInput>} */
  async #describe() {
    const { policies, store } = this.#planning;
    const [first] = /** @type {[UploadRecord]} */ (this.#records);
    const policy = await policies.of(first.details.purpose);
    const files = [];
    const described = [];
    for (const record of this.#records.filter(({ isCancelled }) => !isCancelled)) {
      try {
        files.push(await this.#file(record, policy));
        described.push(record);
      } catch (thrown) {
        this.#unreadable.set(record.id, problemOf(thrown));
      }
    }
    const input = { ...first.details, idempotencyKey: crypto.randomUUID(), files };
    described.forEach((record, index) => { record.batch = { input, index }; });
    await store.current.put(described);
    return input;
  }

  /**
   * @param {UploadRecord} record
   * @param {UploadPolicy} policy
   * @returns {Promise<FileDescription>}
   */
  async #file(record, policy) {
    if (!record.file) throw fileNeeded(record);
    if (this.#planning.resize) {
      record.file = await resized(record.file, policy);
      record.size = record.file.size;
    }
    record.contentType ||= await contentTypeOf(record.file, record.name);
    return {
      ...record.description,
      contentType: record.contentType,
      byteSize: record.size,
      fileName: record.name.slice(0, 255),
      sha256: await this.#digest(record.file, largestOf(record.contentType, policy), policy),
    };
  }

  /**
   * @param {Blob} file
   * @param {number} largest
   * @param {UploadPolicy} policy
   */
  #digest(file, largest, { multipartThreshold }) {
    // One file at a time is in memory, and none that the service will refuse anyway.
    const isWanted = file.size <= this.#planning.digestUpTo || file.size <= multipartThreshold;
    return isWanted && file.size <= largest ? sha256(file) : null;
  }
}

/**
 * @param {string} contentType
 * @param {UploadPolicy} policy
 */
function largestOf(contentType, { maxBytes, maxClipBytes }) {
  return contentType.startsWith('video/') ? maxClipBytes : maxBytes;
}

/** @param {UploadRecord} record */
export function fileNeeded({ name }) {
  return new Problem(`Choose ${name} again to go on: the browser did not keep it.`, { code: 'FILE_NEEDED' });
}
