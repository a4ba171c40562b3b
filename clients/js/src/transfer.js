// Bringing a file's bytes to storage: whole, or in parts of which none is sent again once storage has confirmed it.

import { assertReadable, sha256 } from './digest.js';
import { Problem, problemOf } from './problem.js';
import { persistently } from './retrying.js';
import { currentSession, hasArrived } from './session.js';

/**
 * @import { MediaApi } from './media-api.js'
 * @import { Patience } from './retrying.js'
 * @import { Send } from './storage-request.js'
 * @import { CompletedPart, Session, UploadPart, UploadPartTarget, UploadTarget } from './types.js'
 */

/**
 * @typedef {object} Transfer
 * @property {MediaApi} api
 * @property {Send} send
 * @property {Patience} patience
 * @property {number} partsAtOnce
 * @property {AbortSignal} signal
 * @property {(bytes: number) => void} onProgress hears how many bytes of the file have left
 */

// Signed shortly before they are used: each part is read for its checksum first.
const PARTS_PER_SIGNING = 6;

const EXPIRED = 403;
// An address is signed for one creation of these very bytes: what is there came from an earlier try.
const ALREADY_THERE = 412;
// Too slow for storage, or signed with keys that ended: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
const PASSING_CODES = new Set(['RequestTimeout', 'ExpiredToken']);
// What only other bytes than announced are answered with; anything else may come from a network in between.
const FILE_CHANGED = new Set([400, 411, 413]);

/**
 * Sends what storage lacks of `file`; the parts to complete with, none for a file sent whole.
 * @param {Session} session
 * @param {Blob} file
 * @param {Transfer} transfer
 * @returns {Promise<CompletedPart[] | undefined>}
 */
export async function transferFile(session, file, transfer) {
  if (session.method === 'MULTIPART') return new PartsTransfer(session, file, transfer).run();
  if (session.target) await sendWhole(session.id, session.target, file, transfer);
  transfer.onProgress(file.size);
  return undefined;
}

/**
 * @param {string} uploadId
 * @param {UploadTarget} firstTarget
 * @param {Blob} file
 * @param {Transfer} transfer
 */
async function sendWhole(uploadId, firstTarget, file, transfer) {
  const { api, patience, signal, onProgress } = transfer;
  /** @type {UploadTarget | null} */
  let target = firstTarget;
  await persistently(async () => {
    target ??= unmetTarget(await currentSession(api, uploadId, signal));
    // Nothing to send to: what looked like a failure has arrived.
    if (!target) return;
    const { status, code } = await sendOnce(target, file, onProgress, transfer);
    if (status === EXPIRED) target = null;
    if (status !== ALREADY_THERE) refuse(status, code);
  }, patience, signal);
}

class PartsTransfer {
  #session;
  #file;
  #transfer;
  #partSize;
  /** @type {number[]} */
  #missing = [];
  /** @type {Map<number, string | null>} */
  #etags = new Map();
  /** @type {Map<number, number>} */
  #underWay = new Map();
  /** @type {Map<number, UploadTarget>} */
  #targets = new Map();
  /** @type {Promise<void>} */
  #signing = Promise.resolve();
  #hasChecksums = true;

  /**
   * @param {Session} session
   * @param {Blob} file
   * @param {Transfer} transfer
   */
  constructor(session, file, transfer) {
    this.#session = session;
    this.#file = file;
    this.#transfer = transfer;
    this.#partSize = session.partSize ?? session.byteSize;
    this.#confirm(session.parts);
    const count = session.partCount ?? 1;
    this.#missing = Array.from({ length: count }, (_, index) => index + 1).filter((part) => !this.#etags.has(part));
  }

  async run() {
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#transfer.signal, stop.signal]);
    this.#tell();
    const lanes = Array.from({ length: this.#transfer.partsAtOnce }, () => this.#lane(signal));
    try {
      await Promise.all(lanes);
    } catch (thrown) {
      stop.abort(thrown);
      await Promise.allSettled(lanes);
      throw thrown;
    }
    return this.#completed();
  }

  /** @param {AbortSignal} signal */
  async #lane(signal) {
    for (let part = this.#missing.shift(); part !== undefined; part = this.#missing.shift()) {
      const number = part;
      await persistently((failures) => this.#sendPart(number, failures > 0, signal), this.#transfer.patience, signal);
    }
  }

  /**
   * @param {number} number
   * @param {boolean} isAgain
   * @param {AbortSignal} signal
   */
  async #sendPart(number, isAgain, signal) {
    // The answer was lost, but perhaps not the part.
    if (isAgain) await this.#askStorage(signal);
    if (this.#etags.has(number)) return;
    const target = await this.#target(number, signal);
    const onProgress = (/** @type {number} */ bytes) => {
      this.#underWay.set(number, bytes);
      this.#tell();
    };
    try {
      const { status, etag, code } = await sendOnce(target, this.#slice(number), onProgress, { ...this.#transfer, signal });
      if (status === EXPIRED) this.#targets.delete(number);
      refuse(status, code);
      this.#etags.set(number, etag);
    } finally {
      this.#underWay.delete(number);
      this.#tell();
    }
  }

  /**
   * @param {number} number
   * @param {AbortSignal} signal
   */
  async #target(number, signal) {
    // One lane signs for the others too; each waits for the signing before its own.
    const signing = this.#signing.catch(() => {}).then(() => this.#sign(number, signal));
    this.#signing = signing;
    await signing;
    return /** @type {UploadTarget} */ (this.#targets.get(number));
  }

  /**
   * @param {number} number
   * @param {AbortSignal} signal
   */
  async #sign(number, signal) {
    if (this.#targets.has(number)) return;
    const unsigned = this.#missing.filter((part) => !this.#targets.has(part));
    const partNumbers = [number, ...unsigned.slice(0, PARTS_PER_SIGNING - 1)];
    for (const each of await this.#signed(partNumbers, signal)) this.#targets.set(each.number, each.target);
  }

  /**
   * @param {number[]} partNumbers
   * @param {AbortSignal} signal
   * @returns {Promise<UploadPartTarget[]>}
   */
  async #signed(partNumbers, signal) {
    const partChecksums = [];
    for (const number of this.#hasChecksums ? partNumbers : []) {
      partChecksums.push({ number, sha256: await sha256(this.#slice(number)) });
    }
    try {
      return await this.#transfer.api.signUploadParts({ uploadId: this.#session.id, partNumbers, partChecksums }, signal);
    } catch (thrown) {
      if (!this.#hasChecksums || problemOf(thrown).code !== 'INVALID_INPUT') throw thrown;
      // Another client of the owner began this upload, without checksums.
      this.#hasChecksums = false;
      return this.#signed(partNumbers, signal);
    }
  }

  /** @param {AbortSignal} signal */
  async #askStorage(signal) {
    const session = await currentSession(this.#transfer.api, this.#session.id, signal);
    if (hasArrived(session) && !session.parts.length) throw partsGone();
    this.#confirm(session.parts);
  }

  /** @param {UploadPart[]} parts */
  #confirm(parts) {
    for (const { number, etag } of parts) this.#etags.set(number, etag);
  }

  async #completed() {
    const { patience, signal } = this.#transfer;
    // A bucket whose rules do not expose ETag to pages; the service sees them all the same.
    if ([...this.#etags.values()].includes(null)) await persistently(() => this.#askStorage(signal), patience, signal);
    const parts = [...this.#etags].map(([number, etag]) => ({ number, etag: etag ?? '' }));
    return parts.sort((one, other) => one.number - other.number);
  }

  #tell() {
    let bytes = 0;
    for (const number of this.#etags.keys()) bytes += this.#slice(number).size;
    for (const [number, sent] of this.#underWay) if (!this.#etags.has(number)) bytes += sent;
    this.#transfer.onProgress(Math.min(bytes, this.#file.size));
  }

  /** @param {number} number */
  #slice(number) {
    return this.#file.slice((number - 1) * this.#partSize, number * this.#partSize);
  }
}

/**
 * @param {UploadTarget} target
 * @param {Blob} body
 * @param {(bytes: number) => void} onProgress
 * @param {Pick<Transfer, 'send' | 'signal'>} transfer
 */
async function sendOnce(target, body, onProgress, { send, signal }) {
  try {
    return await send(target, body, { signal, onProgress });
  } catch (thrown) {
    signal.throwIfAborted();
    // A file that changed on disk looks like a broken connection.
    await assertReadable(body);
    throw thrown;
  }
}

/**
 * Raises a Problem unless storage took the bytes.
 * @param {number} status
 * @param {string} [code]
 */
function refuse(status, code = '') {
  if (status >= 200 && status < 300) return;
  if (status === EXPIRED) {
    throw new Problem('The permission to upload ran out. Try again.', { code: 'STORAGE_REFUSED', retryable: true });
  }
  if (status === 404) throw partsGone();
  if (FILE_CHANGED.has(status) && !PASSING_CODES.has(code)) {
    const message = `Storage refused the file (${status}): it changed since it was chosen. Choose it again.`;
    throw new Problem(message, { code: 'STORAGE_REFUSED' });
  }
  const message = 'Storage cannot be reached. Check the connection, then try again.';
  throw new Problem(message, { code: 'UNREACHABLE', retryable: true });
}

// Put together by somebody, or dropped: the service knows which.
function partsGone() {
  return new Problem('Storage does not keep these parts any more.', { code: 'PARTS_GONE' });
}

/** @param {Session} session */
function unmetTarget(session) {
  return hasArrived(session) ? null : session.target;
}
