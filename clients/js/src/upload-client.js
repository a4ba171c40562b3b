// Uploads of a page: added by people, resumed after a reload, three at a time.

import { Batch, MOST_FILES } from './batch.js';
import { browserConnectivity } from './connectivity.js';
import { Exclusion } from './exclusion.js';
import { MediaApi } from './media-api.js';
import { Policies } from './policies.js';
import { Problem } from './problem.js';
import { Slots } from './slots.js';
import { send } from './storage-request.js';
import { Upload } from './upload.js';
import { IndexedDbStore, MemoryStore } from './upload-store.js';

/**
 * @import { Connectivity } from './connectivity.js'
 * @import { GetToken } from './graphql.js'
 * @import { Send } from './storage-request.js'
 * @import { BatchDetails } from './types.js'
 * @import { Description, UploadRecord, UploadStore } from './upload-store.js'
 */

const MEBIBYTE = 1024 * 1024;

/**
 * @typedef {object} ClientOptions
 * @property {string} url the GraphQL address
 * @property {GetToken} [getToken] gives the bearer token; asked with `true` after one was refused
 * @property {UploadStore} [store] what survives a reload; by default a database that keeps the files too
 * @property {boolean} [resize] send JPEGs no larger than the service's policy shows them; originals are then lost
 * @property {number} [digestUpTo] bytes up to which files are recognised that were sent before: such a file is read
 *   into memory once, to compute its SHA-256. What is sent in parts has a checksum for each part anyway
 * @property {typeof globalThis.fetch} [fetch]
 * @property {Send} [send]
 * @property {Connectivity} [connectivity]
 * @property {(milliseconds: number, signal?: AbortSignal) => Promise<void>} [sleep]
 *
 * @typedef {object} AddOptions
 * @property {(file: File, index: number) => Description & { contentType?: string }} [describe] what is known of each
 * @property {AbortSignal} [signal] cancels these uploads
 */

/** An upload that was added, or found again after a reload. */
export class UploadEvent extends Event {
  /** @param {Upload} upload */
  constructor(upload) {
    super('upload');
    this.upload = upload;
  }
}

/** Dispatches an UploadEvent (`upload`) for each upload before it starts. */
export class UploadClient extends EventTarget {
  /** The service's calls, for what a page does beside. */
  api;
  #journeys;
  /** @type {Set<Upload>} */
  #uploads = new Set();

  /** @param {ClientOptions} options */
  constructor(options) {
    super();
    const { url, getToken, fetch, sleep, resize = false, digestUpTo = 64 * MEBIBYTE } = options;
    const connectivity = options.connectivity ?? browserConnectivity;
    this.api = new MediaApi(url, { getToken, fetch });
    const policies = new Policies(this.api, connectivity);
    this.#journeys = {
      api: this.api,
      policies,
      resize,
      digestUpTo,
      store: { current: options.store ?? new IndexedDbStore() },
      patience: { delaysMs: () => policies.current.retryDelaysMs, connectivity, sleep },
      slots: new Slots(() => policies.filesAtOnce),
      exclusion: new Exclusion(),
      send: options.send ?? send,
      startOver: (/** @type {UploadRecord} */ record) => new Batch([record], this.#journeys),
    };
  }

  /** Those that are not over. */
  get uploads() {
    return [...this.#uploads];
  }

  /**
   * Uploads files, each on its own: one that is refused holds up no other.
   * @param {Iterable<File>} files
   * @param {BatchDetails & AddOptions} options
   * @returns {Promise<Upload[]>} once they would survive a reload
   */
  async add(files, { describe = () => ({}), signal, ...details }) {
    signal?.throwIfAborted();
    if (!globalThis.crypto?.subtle) throw new Problem('Uploads need a page that came by https.', { code: 'INSECURE_PAGE' });
    const group = crypto.randomUUID();
    const records = [...files].map((file, index) => newRecord(file, { ...describe(file, index) }, details, group, index));
    const uploads = this.#batched(records).map(({ record, batch }) => this.#follow(record, batch));
    signal?.addEventListener('abort', () => uploads.forEach((upload) => upload.cancel()));
    await this.#keep(records);
    for (const upload of uploads) {
      // Two tabs never work on one upload.
      void this.#journeys.exclusion.run(`media-upload ${upload.id}`, () => {
        upload.start();
        return upload.finished;
      });
    }
    return uploads;
  }

  /**
   * Goes on with what an earlier page left unfinished. What another tab is busy with follows when that is closed.
   * Resolves when everything has been looked through.
   */
  async resume() {
    const { store } = this.#journeys;
    const records = await store.current.all().catch(() => []);
    const known = new Set(this.uploads.map(({ id }) => id));
    for (const { record, batch } of this.#batched(records.filter(({ id }) => !known.has(id)))) {
      void this.#journeys.exclusion.run(`media-upload ${record.id}`, async () => {
        const latest = await store.current.get(record.id);
        if (!latest) return;
        Object.assign(record, latest);
        await this.#goOn(record, batch);
      });
    }
  }

  /**
   * @param {UploadRecord} record
   * @param {Batch} batch
   */
  async #goOn(record, batch) {
    if (record.isCancelled) return new Upload(record, batch, this.#journeys).release();
    const upload = this.#follow(record, batch);
    if (!record.isPaused) upload.start();
    return upload.finished;
  }

  /**
   * @param {UploadRecord} record
   * @param {Batch} batch
   */
  #follow(record, batch) {
    const upload = new Upload(record, batch, this.#journeys);
    this.#uploads.add(upload);
    upload.finished.then(() => this.#uploads.delete(upload));
    this.dispatchEvent(new UploadEvent(upload));
    return upload;
  }

  /**
   * Each record with the batch that it goes with: the one it was announced in, or the next few of its group.
   * @param {UploadRecord[]} records
   */
  #batched(records) {
    /** @type {Map<string, UploadRecord[]>} */
    const groups = new Map();
    for (const record of records) {
      const name = record.batch?.input.idempotencyKey ?? record.group;
      groups.set(name, [...(groups.get(name) ?? []), record]);
    }
    return [...groups.values()].flatMap((group) => inTwenties(group).flatMap((some) => {
      const batch = new Batch(some, this.#journeys);
      return some.map((record) => ({ record, batch }));
    }));
  }

  /** @param {UploadRecord[]} records */
  async #keep(records) {
    const { store } = this.#journeys;
    try {
      await store.current.put(records);
    } catch {
      // Some browsers keep nothing in private windows: the upload itself needs nothing kept.
      store.current = new MemoryStore();
      await store.current.put(records);
    }
  }
}

/**
 * @param {File} file
 * @param {Description & { contentType?: string }} known
 * @param {BatchDetails} details
 * @param {string} group
 * @param {number} index
 * @returns {UploadRecord}
 */
function newRecord(file, { contentType = file.type, ...description }, details, group, index) {
  return {
    id: crypto.randomUUID(),
    group,
    createdAt: Date.now(),
    index,
    name: file.name,
    size: file.size,
    contentType: contentType || 'application/octet-stream',
    file,
    description,
    details,
    isPaused: false,
    isCancelled: false,
    batch: null,
    uploadId: null,
  };
}

/** @param {UploadRecord[]} records */
function inTwenties(records) {
  return Array.from({ length: Math.ceil(records.length / MOST_FILES) }, (_, index) =>
    records.slice(index * MOST_FILES, (index + 1) * MOST_FILES));
}
