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
 * @property {string} owner the id of the viewer: what somebody else left unfinished here is neither seen nor sent
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
  #owner;
  #journeys;
  /** @type {Set<Upload>} */
  #uploads = new Set();

  /** @param {ClientOptions} options */
  constructor(options) {
    super();
    const { url, owner, getToken, fetch, sleep, resize = false, digestUpTo = 64 * MEBIBYTE } = options;
    if (!owner) throw new TypeError('UploadClient needs an owner: the id of the viewer.');
    const connectivity = options.connectivity ?? browserConnectivity;
    this.#owner = owner;
    this.api = new MediaApi(url, { owner, getToken, fetch });
    const policies = new Policies(this.api, connectivity);
    this.#journeys = {
      api: this.api,
      policies,
      resize,
      digestUpTo,
      store: { current: options.store ?? new IndexedDbStore({ owner }) },
      patience: { delaysMs: () => policies.current.retryDelaysMs, connectivity, sleep },
      slots: new Slots(() => policies.filesAtOnce),
      exclusion: new Exclusion(),
      send: options.send ?? send,
      startOver: (/** @type {UploadRecord} */ record) => new Batch([record], this.#journeys),
    };
  }

  /**
   * @overload
   * @param {'upload'} type
   * @param {(event: UploadEvent) => void} listener
   * @param {AddEventListenerOptions | boolean} [options]
   * @returns {void}
   */
  /**
   * @overload
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {AddEventListenerOptions | boolean} [options]
   * @returns {void}
   */
  // For TypeScript, which knows no events but the platform's.
  /**
   * @param {string} type
   * @param {any} listener
   * @param {AddEventListenerOptions | boolean} [options]
   * @override
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
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
    const newRecord = (/** @type {File} */ file, /** @type {number} */ index) =>
      recordOf(file, { ...describe(file, index) }, { owner: this.#owner, details, group, index });
    const records = [...files].map(newRecord);
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
   * Goes on with what an earlier page left unfinished, and with what paused by itself until somebody has signed in.
   * What another tab is busy with follows when that is closed. Resolves when everything has been looked through.
   */
  async resume() {
    const { store } = this.#journeys;
    for (const upload of this.uploads) if (upload.isHeld) void upload.resume();
    const records = await store.current.all().catch(() => []);
    const known = new Set(this.uploads.map(({ id }) => id));
    const unfinished = records.filter(({ id, owner }) => owner === this.#owner && !known.has(id));
    for (const { record, batch } of this.#batched(unfinished)) {
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
 * @param {Pick<UploadRecord, 'owner' | 'group' | 'index' | 'details'>} addition
 * @returns {UploadRecord}
 */
function recordOf(file, { contentType = '', ...description }, addition) {
  return {
    ...addition,
    id: crypto.randomUUID(),
    createdAt: Date.now(),
    name: file.name,
    size: file.size,
    contentType,
    file,
    description,
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
