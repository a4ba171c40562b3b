// What both versions of Uppy need: files are announced before Uppy sends the first byte, the service hears when they are
// through, and forgets those that are removed on the way. What the service knows of a file is kept in its state, as
// `mediaUpload`; `meta.mediaId` is the id of the media.

import { MOST_FILES } from './batch.js';
import { browserConnectivity } from './connectivity.js';
import { sha256 } from './digest.js';
import { Problem } from './problem.js';
import { DEFAULT_DELAYS_MS, persistently } from './retrying.js';
import { AWAITS_BYTES, hasArrived, isBegun } from './session.js';
import { isFollower, known } from './uppy-files.js';

/**
 * @import { MediaApi } from './media-api.js'
 * @import { FileDescription, Outcome, Session } from './types.js'
 * @import { File, KnownUpload, Uppy, UppyUploadOptions } from './uppy-files.js'
 */

/** Addresses are signed for one creation of these very bytes: what is there came from a try whose answer was lost. */
export const ALREADY_THERE = 412;
export const PATIENCE = { delaysMs: () => DEFAULT_DELAYS_MS, connectivity: browserConnectivity };

const NO_SUCH_MULTIPART = 404;
// Digests need the whole file in memory; see digestUpTo of UploadClient.
const DIGEST_UP_TO = 64 * 1024 * 1024;

export class UppyUploads {
  #uppy;
  #api;
  #describe;
  #details;
  #goOn;
  /** @type {Map<string, string>} upload ids by object key: Uppy still signs for files that it has removed */
  #ids = new Map();
  /** @type {Map<string, Promise<unknown>>} */
  #lastWords = new Map();
  /** @type {Map<string, Promise<unknown>>} */
  #completing = new Map();
  /** @type {Promise<unknown>} a removed file that is chosen again at once must not join what is being ended */
  #abandoning = Promise.resolve();

  /**
   * @param {Uppy} uppy
   * @param {MediaApi} api
   * @param {UppyUploadOptions} options
   * @param {(session: Session) => object | null} goOn the state of a file that an earlier page has sent parts of; null
   *   where Uppy has to begin anew
   */
  constructor(uppy, api, { describe = () => ({}), ...details }, goOn) {
    this.#uppy = uppy;
    this.#api = api;
    this.#describe = describe;
    this.#details = details;
    this.#goOn = goOn;
    uppy.addPreProcessor((ids) => this.#announce(ids));
    uppy.addPostProcessor((ids) => this.#untilCompleted(ids));
    uppy.on('upload-success', (file) => this.#arrived(file.id));
    uppy.on('upload-error', (file, error) => this.#lookInto(file, error));
    uppy.on('file-removed', (file) => (this.#abandoning = Promise.all([this.#abandoning, this.#abandon(file)])));
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
    this.#forget(file.id);
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
    await this.#abandoning;
    for (let first = 0; first < files.length; first += MOST_FILES) {
      const some = /** @type {File[]} */ (files.slice(first, first + MOST_FILES));
      const described = [];
      for (const file of some) described.push(await this.#description(file));
      const input = { ...this.#details, idempotencyKey: crypto.randomUUID(), files: described };
      const outcomes = await persistently(() => this.#api.createUploads(input), PATIENCE);
      const anew = [];
      const ended = new Set();
      for (const [index, file] of some.entries()) {
        const outcome = /** @type {Outcome} */ (outcomes[index]);
        const { upload, duplicate } = outcome;
        if (this.#mustBeginAnew(upload)) {
          await this.abort(file, upload.id);
          ended.add(upload.media.id);
        }
        if (ended.has((upload?.media ?? duplicate)?.id)) anew.push(file.id);
        else this.#take(file, outcome);
      }
      if (anew.length) await this.#announce(anew);
    }
  }

  /**
   * @param {Session | null} session
   * @returns {session is Session}
   */
  #mustBeginAnew(session) {
    return session !== null && isBegun(session) && !this.#follows(session.id) && !this.#goOn(session);
  }

  /**
   * Whether another file of this Uppy brings the bytes of an upload.
   * @param {string} uploadId
   */
  #follows(uploadId) {
    return this.#uppy.getFiles().some(({ mediaUpload }) => mediaUpload?.id === uploadId);
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
    } else if (duplicate || (upload && this.#follows(upload.id))) {
      this.#uppy.setFileMeta(file.id, { mediaId: duplicate?.id ?? upload?.media.id, isDuplicate: true });
      this.#succeed(file.id);
    } else if (upload) {
      this.#begin(file, upload);
    }
  }

  /**
   * @param {File} file
   * @param {Session} session
   */
  #begin(file, session) {
    const { id, objectKey, method, partSize, media } = session;
    this.#ids.set(objectKey, id);
    this.#uppy.setFileState(file.id, { mediaUpload: { id, objectKey, method, partSize }, ...(isBegun(session) ? this.#goOn(session) : {}) });
    this.#uppy.setFileMeta(file.id, { mediaId: media.id, isDuplicate: false });
    if (hasArrived(session)) this.#succeed(file.id);
  }

  /** @param {string} fileId */
  #succeed(fileId) {
    this.#uppy.setFileState(fileId, { error: null });
    this.#uppy.emit('upload-success', this.#uppy.getFile(fileId), { status: 200, body: {} });
  }

  /** @param {string} fileId */
  #arrived(fileId) {
    const file = this.#uppy.getFile(fileId);
    if (!file?.mediaUpload || file.mediaUpload.isDone) return;
    const input = { idempotencyKey: crypto.randomUUID(), uploadId: file.mediaUpload.id };
    this.#toldLater(fileId, this.complete(file, input));
  }

  /**
   * How it ends is told by the postprocessor.
   * @param {string} fileId
   * @param {Promise<unknown>} completing
   */
  #toldLater(fileId, completing) {
    this.#completing.set(fileId, completing);
    completing.catch(() => {});
  }

  /**
   * @param {File} file
   * @param {{ code?: string, status?: number, source?: { status?: number } }} error as versions 6 and 5 tell the status
   */
  #lookInto(file, error) {
    const status = error.status ?? error.source?.status;
    if (status === ALREADY_THERE) this.#succeed(file.id);
    // The next try is with a new one.
    else if (error.code === 'UPLOAD_EXPIRED') this.#forget(file.id);
    else if (status === NO_SUCH_MULTIPART || error.code === 'STATE_CONFLICT') this.#toldLater(file.id, this.#unlessArrived(file, error));
  }

  /**
   * Whether the answer to the last request was lost: the service knows.
   * @param {File} file
   * @param {{ code?: string }} error
   */
  async #unlessArrived(file, { code }) {
    const session = file.mediaUpload && (await this.current(file.mediaUpload.id).catch(() => null));
    if (!session || (AWAITS_BYTES.has(session.media.status) && !hasArrived(session))) {
      // Another page has begun it: the next try asks what is to be done.
      return code === 'STATE_CONFLICT' ? this.#forget(file.id) : undefined;
    }
    this.#completing.delete(file.id);
    // Version 5 has asked for it to be aborted, in vain.
    this.#uppy.setFileState(file.id, { mediaUpload: file.mediaUpload });
    this.#succeed(file.id);
    await this.#completing.get(file.id);
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
    for (const follower of this.#uppy.getFiles()) if (isFollower(follower, file)) this.#orphan(follower);
  }

  // It counted as uploaded with the other's bytes.
  /** @param {File} file */
  #orphan(file) {
    const progress = { ...file.progress, uploadStarted: null, uploadComplete: false, percentage: 0, bytesUploaded: false };
    this.#uppy.setFileState(file.id, { progress });
    const message = `The same file was removed before it was sent. Try again to send ${file.name}.`;
    this.#uppy.emit('upload-error', this.#uppy.getFile(file.id), new Problem(message, { retryable: true }));
  }

  /** @param {string} fileId */
  #forget(fileId) {
    if (this.#uppy.getFile(fileId)) this.#uppy.setFileState(fileId, { mediaUpload: undefined, s3Multipart: undefined });
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
