// What must survive a reload: each unfinished upload with its file, in IndexedDB or only in memory.

/** @import { BatchDetails, CreateUploadsInput, FileDescription } from './types.js' */

/**
 * @typedef {Omit<FileDescription, 'contentType' | 'byteSize' | 'sha256'>} Description what people say about a file
 *
 * @typedef {object} UploadRecord
 * @property {string} id ours, not the service's
 * @property {string} owner the id of the viewer who added it
 * @property {string} group the `add` that it came with
 * @property {number} createdAt milliseconds since 1970
 * @property {number} index its place in the group
 * @property {string} name
 * @property {number} size
 * @property {string} contentType empty until its bytes were looked at
 * @property {Blob | null} file null where it could not, or should not, be kept
 * @property {Description} description
 * @property {BatchDetails} details
 * @property {boolean} isPaused
 * @property {boolean} isCancelled the service has still to be told
 * @property {{ input: CreateUploadsInput, index: number } | null} batch written before the service is asked, and
 *   asked again in the same words after a reload
 * @property {string | null} uploadId the service's, once it has answered
 *
 * @typedef {object} UploadStore
 * @property {(records: UploadRecord[]) => Promise<void>} put all of them or none
 * @property {(id: string) => Promise<UploadRecord | undefined>} get
 * @property {() => Promise<UploadRecord[]>} all the oldest first
 * @property {(id: string) => Promise<void>} remove
 */

// Apart, so that a file is written once however often its upload changes.
const UPLOADS = 'uploads';
const FILES = 'files';

/** @implements {UploadStore} */
export class IndexedDbStore {
  #name;
  #keepsFiles;
  /** @type {Map<string, Blob>} the files that are kept, by the id of their upload */
  #kept = new Map();
  /** @type {Promise<IDBDatabase> | undefined} */
  #opened;

  /**
   * @param {object} options
   * @param {string} options.owner the id of the viewer: each has a database
   * @param {string} [options.name] what the databases of this page are called
   * @param {boolean} [options.keepsFiles] false: after a reload, uploads wait until their file is chosen again
   */
  constructor({ owner, name = 'media-uploads', keepsFiles = true }) {
    this.#name = `${name}/${owner}`;
    this.#keepsFiles = keepsFiles;
  }

  /** @param {UploadRecord[]} records */
  async put(records) {
    try {
      await this.#write(records, this.#keepsFiles);
    } catch (error) {
      // A browser's space is limited: better to remember what was sent than nothing at all.
      if (/** @type {Error} */ (error).name !== 'QuotaExceededError') throw error;
      await this.#write(records, false);
    }
  }

  /** @param {string} id */
  async get(id) {
    const tables = (await this.#database()).transaction([UPLOADS, FILES]);
    const [record, file] = await Promise.all([
      answerOf(tables.objectStore(UPLOADS).get(id)), answerOf(tables.objectStore(FILES).get(id)),
    ]);
    return record && this.#whole(record, file);
  }

  async all() {
    const ids = await answerOf((await this.#database()).transaction(UPLOADS).objectStore(UPLOADS).getAllKeys());
    const records = await Promise.all(ids.map((id) => this.get(String(id))));
    return records.filter((record) => record !== undefined).sort(inOrder);
  }

  /** @param {string} id */
  async remove(id) {
    this.#kept.delete(id);
    await this.#change((uploads, files) => {
      uploads.delete(id);
      files.delete(id);
    });
  }

  /**
   * @param {UploadRecord[]} records
   * @param {boolean} withFiles
   */
  async #write(records, withFiles) {
    const unkept = withFiles ? records.filter(({ id, file }) => file && this.#kept.get(id) !== file) : [];
    await this.#change((uploads, files) => {
      for (const { file: _, ...record } of records) uploads.put(record);
      for (const { id, file } of unkept) files.put(file, id);
    });
    for (const { id, file } of unkept) this.#kept.set(id, /** @type {Blob} */ (file));
  }

  /** @param {(uploads: IDBObjectStore, files: IDBObjectStore) => void} change */
  async #change(change) {
    // Strict: on disk before a request is made that it will have to answer for.
    const transaction = (await this.#database()).transaction([UPLOADS, FILES], 'readwrite', { durability: 'strict' });
    const done = /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    }));
    change(transaction.objectStore(UPLOADS), transaction.objectStore(FILES));
    await done;
  }

  /**
   * @param {Omit<UploadRecord, 'file'>} record
   * @param {Blob | undefined} file
   * @returns {UploadRecord}
   */
  #whole(record, file) {
    if (file) this.#kept.set(record.id, file);
    return { ...record, file: file ?? null };
  }

  #database() {
    this.#opened ??= openDatabase(this.#name).catch((error) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }
}

/** @implements {UploadStore} */
export class MemoryStore {
  /** @type {Map<string, UploadRecord>} */
  #records = new Map();

  /** @param {UploadRecord[]} records */
  async put(records) {
    for (const record of records) this.#records.set(record.id, { ...record });
  }

  /** @param {string} id */
  async get(id) {
    return this.#records.get(id);
  }

  async all() {
    return [...this.#records.values()].sort(inOrder);
  }

  /** @param {string} id */
  async remove(id) {
    this.#records.delete(id);
  }
}

/** @param {string} name */
async function openDatabase(name) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(UPLOADS, { keyPath: 'id' });
    request.result.createObjectStore(FILES);
  };
  return answerOf(request);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function answerOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @param {UploadRecord} one
 * @param {UploadRecord} other
 */
function inOrder(one, other) {
  return one.createdAt - other.createdAt || one.index - other.index;
}
