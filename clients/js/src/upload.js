// The journey of one file: announced, sent, completed; paused, resumed or cancelled on the way.

import { fileNeeded } from './batch.js';
import { asksForSignIn, isVerdict, Problem, problemOf } from './problem.js';
import { persistently, unlessAborted } from './retrying.js';
import { AWAITS_BYTES, confirmedParts, currentSession, hasArrived } from './session.js';
import { transferFile } from './transfer.js';
import { isShared } from './twins.js';

/**
 * @import { Batch, Planning } from './batch.js'
 * @import { Exclusion } from './exclusion.js'
 * @import { Slots } from './slots.js'
 * @import { Send } from './storage-request.js'
 * @import { CompletedPart, MediaReference, Session } from './types.js'
 * @import { UploadRecord } from './upload-store.js'
 */

/**
 * @typedef {'waiting' | 'sending' | 'paused' | 'sent' | 'duplicate' | 'failed' | 'cancelled'} UploadState
 * @typedef {Planning & { slots: Slots, exclusion: Exclusion, send: Send, startOver: (record: UploadRecord) => Batch }} Journeys
 */

// Parts may be lost, or all there already, and sessions end while a device sleeps: the service is asked how things stand.
const LOOKED_INTO = new Set(['UPLOAD_EXPIRED', 'UPLOAD_INCOMPLETE', 'STATE_CONFLICT', 'NOT_FOUND', 'PARTS_GONE']);
const MOST_ROUNDS = 3;

/** Dispatches `change` whenever something below has changed. */
export class Upload extends EventTarget {
  #record;
  #batch;
  #journeys;
  #stop = new AbortController();
  /** @type {Promise<void>} */
  #running = Promise.resolve();
  #end = () => {};
  #isHeld = false;
  #isGivenUp = false;

  /** @type {UploadState} */
  state = 'waiting';
  /** Bytes of the file that have left, those that storage has confirmed before a reload among them. */
  bytesSent = 0;
  /** @type {Problem | undefined} why it has failed, or has paused by itself: the sign-in does not hold */
  problem;
  /** @type {MediaReference | undefined} what the file has become, or already was */
  media;
  /** Resolves when nothing more will be done: sent, a duplicate, cancelled, or failed for good. */
  finished = /** @type {Promise<void>} */ (new Promise((resolve) => { this.#end = resolve; }));

  /**
   * @param {UploadRecord} record
   * @param {Batch} batch
   * @param {Journeys} journeys
   */
  constructor(record, batch, journeys) {
    super();
    this.#record = record;
    this.#batch = batch;
    this.#journeys = journeys;
    if (record.isPaused) this.state = 'paused';
  }

  get id() { return this.#record.id; }
  get name() { return this.#record.name; }
  get size() { return this.#record.size; }
  get file() { return this.#record.file; }
  /** Whether nothing is left to retry or to cancel. */
  get isOver() { return this.#isGivenUp || ['sent', 'duplicate', 'cancelled'].includes(this.state); }
  /** Whether it has paused by itself, until somebody has signed in. */
  get isHeld() { return this.#isHeld; }

  /** Begins, or goes on after a failure. */
  start() {
    this.#running = this.#running.then(() => this.#run());
  }

  /** Stops sending; parts that storage has confirmed stay there, and the state survives a reload. */
  async pause() {
    if (this.isOver || this.state === 'failed' || this.#record.isPaused) return;
    this.#record.isPaused = true;
    await this.#halt();
    if (this.#record.isPaused && !this.isOver) this.#become('paused');
  }

  /** Goes on after `pause`, or once somebody has signed in. */
  async resume() {
    if (this.isOver || !(this.#record.isPaused || this.#isHeld)) return;
    if (this.#isHeld) this.#batch.renew();
    this.#record.isPaused = this.#isHeld = false;
    this.start();
    await this.#save();
  }

  /** Tries again after a failure. */
  retry() {
    if (this.state !== 'failed' || this.isOver) return;
    this.#batch.renew();
    this.start();
  }

  /**
   * Gives the file back to an upload that lacks it (problem FILE_NEEDED) after a reload.
   * @param {File} file
   */
  provide(file) {
    if (file.name !== this.name || file.size !== this.size) {
      throw new Problem(`This is another file than ${this.name}.`, { code: 'OTHER_FILE' });
    }
    this.#record.file = file;
    this.retry();
  }

  /** Gives up, and has the service and storage forget what was sent. */
  async cancel() {
    if (this.isOver || this.#record.isCancelled) return;
    this.#record.isCancelled = true;
    await this.#halt();
    this.#become('cancelled');
    await this.#running;
    await this.release();
  }

  /** Tells the service that nothing more will come, unless the same file is on its way for another upload too. */
  async release() {
    const { api, patience, store } = this.#journeys;
    const uploadId = this.#record.uploadId ?? (await this.#plannedId());
    const input = { idempotencyKey: `${this.id}/abort/${uploadId}`, uploadId: uploadId ?? '' };
    const isUnwanted = uploadId && !(await isShared(this.#record, uploadId, store.current));
    if (isUnwanted) await persistently(() => api.abortUpload(input), patience).catch(problemOf);
    await store.current.remove(this.id);
    this.#end();
  }

  // The service may have planned it although its answer never came.
  async #plannedId() {
    if (!this.#batch.isAsked && !this.#record.batch) return undefined;
    const outcome = await this.#batch.outcome(this.#record).catch(() => undefined);
    return outcome?.upload?.id;
  }

  async #run() {
    if (this.isOver || this.#record.isPaused || this.#record.isCancelled) return;
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#isHeld = false;
    this.problem = undefined;
    this.#become('waiting');
    const { policies, slots } = this.#journeys;
    try {
      // It says how many may go at once.
      await unlessAborted(policies.of(this.#record.details.purpose), signal);
      await slots.run(() => this.#journey(signal), signal);
    } catch (thrown) {
      if (!signal.aborted) await this.#fail(problemOf(thrown));
    }
  }

  /** @param {AbortSignal} signal */
  async #journey(signal) {
    for (let round = 1; ; round += 1) {
      try {
        return await this.#round(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        const { code } = problemOf(thrown);
        const isCurable = this.#record.uploadId && LOOKED_INTO.has(code);
        if (!isCurable || round === MOST_ROUNDS) throw thrown;
        if (code === 'UPLOAD_EXPIRED') await this.#startOver();
      }
    }
  }

  /** @param {AbortSignal} signal */
  async #round(signal) {
    const session = await this.#session(signal);
    if (!session) return this.#finish('duplicate');
    // Chosen twice, a file has one session: who comes second waits, and finds it done.
    const bring = (/** @type {boolean} */ hadToWait) => this.#bring(session, hadToWait, signal);
    return this.#journeys.exclusion.run(`media-session ${session.id}`, bring, signal);
  }

  /**
   * @param {Session} known
   * @param {boolean} isStale
   * @param {AbortSignal} signal
   */
  async #bring(known, isStale, signal) {
    const session = isStale ? await this.#session(signal) : known;
    if (!session) return this.#finish('duplicate');
    this.media = session.media;
    if (!AWAITS_BYTES.has(session.media.status)) return this.#finish('sent');
    this.#become('sending');
    const parts = await this.#transfer(session, signal);
    this.media = await this.#complete(session, parts, signal);
    return this.#finish('sent');
  }

  /**
   * Null for a file that its owner already has.
   * @param {AbortSignal} signal
   * @returns {Promise<Session | null>}
   */
  async #session(signal) {
    const { api, patience } = this.#journeys;
    const { uploadId } = this.#record;
    if (uploadId) return persistently(() => currentSession(api, uploadId, signal), patience, signal);
    const { upload, duplicate, userErrors: [error] } = await unlessAborted(this.#batch.outcome(this.#record), signal);
    if (error) throw new Problem(error.message, error);
    if (upload) {
      this.#record.uploadId = upload.id;
      await this.#save();
    }
    this.media = duplicate ?? undefined;
    return upload;
  }

  /**
   * @param {Session} session
   * @param {AbortSignal} signal
   */
  #transfer(session, signal) {
    const { api, send, patience, policies } = this.#journeys;
    if (hasArrived(session)) return confirmedParts(session);
    if (!this.#record.file) throw fileNeeded(this.#record);
    const onProgress = (/** @type {number} */ bytes) => {
      this.bytesSent = bytes;
      this.#tell();
    };
    const transfer = { api, send, patience, partsAtOnce: policies.partsAtOnce, signal, onProgress };
    return transferFile(session, this.#record.file, transfer);
  }

  /**
   * @param {Session} session
   * @param {CompletedPart[] | undefined} parts
   * @param {AbortSignal} signal
   * @returns {Promise<MediaReference>}
   */
  async #complete({ id }, parts, signal) {
    const { api, patience } = this.#journeys;
    const input = { idempotencyKey: crypto.randomUUID(), uploadId: id, parts };
    const answer = await persistently(() => api.completeUpload(input, signal).catch(incompleteAsAnswer), patience, signal);
    if (answer instanceof Problem) throw answer;
    return answer;
  }

  async #startOver() {
    Object.assign(this.#record, { batch: null, uploadId: null });
    this.#batch = this.#journeys.startOver(this.#record);
    await this.#save();
  }

  /** @param {'sent' | 'duplicate'} state */
  async #finish(state) {
    this.bytesSent = this.size;
    this.#become(state);
    await this.#journeys.store.current.remove(this.id);
    this.#end();
  }

  /** @param {Problem} problem */
  async #fail(problem) {
    this.problem = problem;
    this.#isHeld = asksForSignIn(problem);
    this.#isGivenUp = isVerdict(problem, this.#record.uploadId !== null);
    this.#become(this.#isHeld ? 'paused' : 'failed');
    // What cannot succeed leaves nothing behind; the rest is tried again after a reload.
    if (this.#isGivenUp) await this.release();
  }

  // What is said to have stopped must have stopped after a reload as well.
  async #halt() {
    this.#stop.abort(new DOMException('The upload was stopped.', 'AbortError'));
    await this.#save();
  }

  async #save() {
    await this.#journeys.store.current.put([this.#record]);
  }

  /** @param {UploadState} state */
  #become(state) {
    this.state = state;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event('change'));
  }
}

// Not for waiting: the missing bytes must be sent first.
/** @param {unknown} thrown */
function incompleteAsAnswer(thrown) {
  const problem = problemOf(thrown);
  if (problem.code === 'UPLOAD_INCOMPLETE') return problem;
  throw problem;
}
