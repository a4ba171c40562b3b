// Uppy on this service: options for `@uppy/aws-s3`, version 6 (`uppyOptions`) and version 5 (`uppy5Options`).
//
//   const uppy = new Uppy();
//   uppy.use(AwsS3, uppyOptions(uppy, new MediaApi('/graphql', { getToken }), { purpose: 'COMMUNITY' }));
//
// Both announce files before Uppy sends the first byte, say so when they are through, and have the service forget
// those that are removed on the way. What the service knows of a file is kept in its state, as `mediaUpload`;
// `meta.mediaId` is the id of the media.

import { MOST_FILES } from './batch.js';
import { browserConnectivity } from './connectivity.js';
import { sha256 } from './digest.js';
import { Problem } from './problem.js';
import { DEFAULT_DELAYS_MS, persistently } from './retrying.js';

/**
 * @import { MediaApi } from './media-api.js'
 * @import { BatchDetails, FileDescription, Outcome, Session, UploadTarget } from './types.js'
 * @import { Description } from './upload-store.js'
 */

/**
 * @typedef {Pick<Session, 'id' | 'objectKey' | 'method' | 'partSize'> & { isDone?: boolean }} KnownUpload
 * @typedef {{ id: string, name: string, type: string, size: number | null, data: Blob, error?: string | null, mediaUpload?: KnownUpload }} File
 *
 * @typedef {object} Uppy what we use of it
 * @property {(id: string) => File | undefined} getFile
 * @property {() => File[]} getFiles
 * @property {(id: string, state: object) => void} setFileState
 * @property {(id: string, meta: object) => void} setFileMeta
 * @property {(step: (ids: string[]) => Promise<void>) => void} addPreProcessor
 * @property {(step: (ids: string[]) => Promise<void>) => void} addPostProcessor
 * @property {(event: any, listener: (file: any, details: any) => void) => unknown} on
 * @property {(event: any, ...details: any[]) => void} emit
 *
 * @typedef {BatchDetails & { describe?: (file: any) => Description }} UppyUploadOptions
 * @typedef {{ method: string, key: string, uploadId?: string, partNumber?: number, contentType?: string }} UnsignedRequest
 * @typedef {{ key: string, uploadId: string, signal?: AbortSignal }} MultipartReference
 */

// Digests need the whole file in memory; see digestUpTo of UploadClient.
const DIGEST_UP_TO = 64 * 1024 * 1024;
// Addresses are signed for one creation of these very bytes: what is there came from a try whose answer was lost.
const ALREADY_THERE = 412;
const PATIENCE = { delaysMs: () => DEFAULT_DELAYS_MS, connectivity: browserConnectivity };

/**
 * Options for `@uppy/aws-s3` 6: every request to storage is signed by the service, one by one.
 * @param {any} uppy
 * @param {MediaApi} api
 * @param {UppyUploadOptions} options
 */
export function uppyOptions(uppy, api, options) {
  const uploads = new UppyUploads(uppy, api, options);
  return {
    ...uploads.common,
    generateObjectKey: (/** @type {File} */ file) => known(file).objectKey,
    /** @param {UnsignedRequest} request */
    signRequest: async ({ method, key, uploadId: storageUploadId, partNumber, contentType }) => {
      const request = { uploadId: uploads.idOf(key), method: asMethod(method), key, storageUploadId, partNumber, contentType };
      const signing = persistently(() => api.signStorageRequest(request), PATIENCE);
      if (method === 'DELETE') uploads.lastWord(key, signing);
      const { url, headers } = await signing;
      return { url, headers: asObject(headers) };
    },
  };
}

/**
 * Options for `@uppy/aws-s3` 5: the service's upload stands for the multipart upload, whose own id stays there.
 * @param {any} uppy
 * @param {MediaApi} api
 * @param {UppyUploadOptions} options
 */
export function uppy5Options(uppy, api, options) {
  const uploads = new UppyUploads(uppy, api, options);
  return {
    ...uploads.common,
    getUploadParameters: async (/** @type {File} */ file) => {
      const { target } = await uploads.current(known(file).id);
      if (!target) throw Object.assign(new Problem('The file is there already.'), { status: ALREADY_THERE });
      return parametersOf(target);
    },
    createMultipartUpload: async (/** @type {File} */ file) => {
      const { id, objectKey } = known(file);
      return { uploadId: id, key: objectKey };
    },
    /**
     * @param {File} _file
     * @param {MultipartReference & { partNumber: number, body: Blob }} part
     */
    signPart: async (_file, { uploadId, partNumber, body, signal }) => {
      const partChecksums = [{ number: partNumber, sha256: await sha256(body) }];
      const input = { uploadId, partNumbers: [partNumber], partChecksums };
      const [signed] = await persistently(() => api.signUploadParts(input, signal), PATIENCE, signal);
      return parametersOf(/** @type {{ target: UploadTarget }} */ (signed).target);
    },
    /**
     * @param {File} _file
     * @param {MultipartReference} reference
     */
    listParts: async (_file, { uploadId, signal }) => {
      const { parts } = await uploads.current(uploadId, signal);
      return parts.map(({ number, byteSize, etag }) => ({ PartNumber: number, Size: byteSize, ETag: etag }));
    },
    /**
     * @param {File} file
     * @param {MultipartReference & { parts: { PartNumber?: number, ETag?: string }[] }} reference
     */
    completeMultipartUpload: async (file, { uploadId, parts, signal }) => {
      const completed = parts.map(({ PartNumber = 0, ETag = '' }) => ({ number: PartNumber, etag: ETag.replaceAll('"', '') }));
      await uploads.complete(file, { idempotencyKey: crypto.randomUUID(), uploadId, parts: completed }, signal);
      return {};
    },
    /**
     * @param {File} file
     * @param {MultipartReference} reference
     */
    abortMultipartUpload: (file, { uploadId }) => uploads.abort(file, uploadId),
  };
}

class UppyUploads {
  #uppy;
  #api;
  #describe;
  #details;
  /** @type {Map<string, string>} upload ids by object key: Uppy still signs for files that it has removed */
  #ids = new Map();
  /** @type {Map<string, Promise<unknown>>} */
  #lastWords = new Map();
  /** @type {Map<string, Promise<unknown>>} */
  #completing = new Map();

  /**
   * @param {Uppy} uppy
   * @param {MediaApi} api
   * @param {UppyUploadOptions} options
   */
  constructor(uppy, api, { describe = () => ({}), ...details }) {
    this.#uppy = uppy;
    this.#api = api;
    this.#describe = describe;
    this.#details = details;
    uppy.addPreProcessor((ids) => this.#announce(ids));
    uppy.addPostProcessor((ids) => this.#untilCompleted(ids));
    uppy.on('upload-success', (file) => this.#arrived(file.id));
    uppy.on('upload-error', (file, error) => this.#unlessThere(file, error));
    uppy.on('file-removed', (file) => this.#abandon(file));
  }

  common = {
    limit: 3,
    shouldUseMultipart: (/** @type {File} */ file) => known(file).method === 'MULTIPART',
    // The service signs each part's length, and makes it from the file's.
    getChunkSize: (/** @type {{ size: number }} */ { size }) => {
      const same = this.#uppy.getFiles().find(({ data, mediaUpload }) => mediaUpload && data.size === size);
      return same?.mediaUpload?.partSize ?? size;
    },
  };

  /** @param {string} key */
  idOf(key) {
    const restored = this.#uppy.getFiles().find(({ mediaUpload }) => mediaUpload?.objectKey === key);
    const id = this.#ids.get(key) ?? restored?.mediaUpload?.id;
    if (!id) throw new Problem(`No upload has the key ${key}.`, { code: 'NOT_FOUND' });
    return id;
  }

  /**
   * @param {string} id
   * @param {AbortSignal} [signal]
   */
  async current(id, signal) {
    const session = await persistently(() => this.#api.upload(id, signal), PATIENCE, signal);
    if (!session) throw new Problem('The upload has expired.', { code: 'UPLOAD_EXPIRED' });
    return session;
  }

  /**
   * @param {File} file
   * @param {Parameters<MediaApi['completeUpload']>[0]} input
   * @param {AbortSignal} [signal]
   */
  async complete(file, input, signal) {
    await persistently(() => this.#api.completeUpload(input, signal), PATIENCE, signal);
    this.#remember(file.id, { isDone: true });
  }

  /**
   * @param {File} file
   * @param {string} uploadId
   */
  async abort(file, uploadId) {
    // Where Uppy tries again, it is with a new upload.
    if (this.#uppy.getFile(file.id)) this.#uppy.setFileState(file.id, { mediaUpload: undefined });
    const input = { idempotencyKey: `uppy/abort/${uploadId}`, uploadId };
    await persistently(() => this.#api.abortUpload(input), PATIENCE);
  }

  /**
   * Uppy's own request to abort must be signed before the service ends the upload.
   * @param {string} key
   * @param {Promise<unknown>} signing
   */
  lastWord(key, signing) {
    this.#lastWords.set(key, signing.catch(() => {}));
  }

  /** @param {string[]} ids */
  async #announce(ids) {
    const files = ids.map((id) => this.#uppy.getFile(id)).filter((file) => file && !file.mediaUpload && !file.error);
    for (let first = 0; first < files.length; first += MOST_FILES) {
      const some = /** @type {File[]} */ (files.slice(first, first + MOST_FILES));
      const described = [];
      for (const file of some) described.push(await this.#description(file));
      const input = { ...this.#details, idempotencyKey: crypto.randomUUID(), files: described };
      const outcomes = await persistently(() => this.#api.createUploads(input), PATIENCE);
      some.forEach((file, index) => this.#take(file, /** @type {Outcome} */ (outcomes[index])));
    }
  }

  /**
   * @param {File} file
   * @returns {Promise<FileDescription>}
   */
  async #description(file) {
    return {
      ...this.#describe(file),
      contentType: file.type,
      byteSize: file.data.size,
      fileName: file.name.slice(0, 255),
      sha256: file.data.size <= DIGEST_UP_TO ? await sha256(file.data) : null,
    };
  }

  /**
   * @param {File} file
   * @param {Outcome} outcome
   */
  #take(file, { upload, duplicate, userErrors: [error] }) {
    if (error) {
      this.#uppy.emit('upload-error', this.#uppy.getFile(file.id), new Problem(error.message, error));
    } else if (duplicate) {
      this.#uppy.setFileMeta(file.id, { mediaId: duplicate.id, isDuplicate: true });
      this.#uppy.emit('upload-success', this.#uppy.getFile(file.id), { status: 200, body: {} });
    } else if (upload) {
      const { id, objectKey, method, partSize, media } = upload;
      this.#ids.set(objectKey, id);
      this.#uppy.setFileState(file.id, { mediaUpload: { id, objectKey, method, partSize } });
      this.#uppy.setFileMeta(file.id, { mediaId: media.id });
    }
  }

  /** @param {string} fileId */
  #arrived(fileId) {
    const file = this.#uppy.getFile(fileId);
    if (!file?.mediaUpload || file.mediaUpload.isDone) return;
    const input = { idempotencyKey: crypto.randomUUID(), uploadId: file.mediaUpload.id };
    const completing = this.complete(file, input);
    this.#completing.set(fileId, completing);
    // Told by the postprocessor.
    completing.catch(() => {});
  }

  /**
   * @param {File} file
   * @param {{ status?: number, source?: { status?: number } }} error as version 6 and version 5 tell the status
   */
  #unlessThere(file, error) {
    if ((error.status ?? error.source?.status) !== ALREADY_THERE) return;
    this.#uppy.setFileState(file.id, { error: null });
    this.#uppy.emit('upload-success', this.#uppy.getFile(file.id), { status: 200, body: {} });
  }

  /** @param {string[]} ids */
  async #untilCompleted(ids) {
    for (const id of ids) {
      await this.#completing.get(id)?.catch((error) => this.#uppy.emit('upload-error', this.#uppy.getFile(id), error));
      this.#completing.delete(id);
    }
  }

  /** @param {File} file */
  async #abandon(file) {
    const { mediaUpload } = file;
    if (!mediaUpload || mediaUpload.isDone) return;
    // Uppy hears of the removal after us, and signs its own request to abort then.
    await new Promise((resolve) => setTimeout(resolve));
    await this.#lastWords.get(mediaUpload.objectKey);
    await this.abort(file, mediaUpload.id).catch(() => {});
  }

  /**
   * @param {string} fileId
   * @param {Partial<KnownUpload>} news
   */
  #remember(fileId, news) {
    const file = this.#uppy.getFile(fileId);
    if (file?.mediaUpload) this.#uppy.setFileState(fileId, { mediaUpload: { ...file.mediaUpload, ...news } });
  }
}

/**
 * @param {File} file
 * @returns {KnownUpload}
 */
function known(file) {
  if (!file.mediaUpload) throw new Problem(`${file.name} was not announced.`, { code: 'NOT_FOUND' });
  return file.mediaUpload;
}

/** @param {string} method */
function asMethod(method) {
  return /** @type {'GET' | 'PUT' | 'POST' | 'DELETE'} */ (method);
}

/** @param {UploadTarget} target */
function parametersOf({ url, headers }) {
  return { method: /** @type {const} */ ('PUT'), url, headers: asObject(headers) };
}

/** @param {UploadTarget['headers']} headers */
function asObject(headers) {
  return Object.fromEntries(headers.map(({ name, value }) => [name, value]));
}
