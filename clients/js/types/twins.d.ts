/**
 * @import { Outcome } from './types.js'
 * @import { UploadRecord, UploadStore } from './upload-store.js'
 */
/**
 * Within one batch the service calls the second a duplicate of the first, which has yet to be sent: it follows the
 * first one's session instead, so that giving up the first does not lose the second.
 * @param {Outcome} outcome
 * @param {Outcome[]} outcomes of the whole batch
 */
export function withTwin(outcome: Outcome, outcomes: Outcome[]): Outcome;
/**
 * Whether another upload, in whichever tab, still needs the session of this one.
 * @param {UploadRecord} record
 * @param {string} uploadId
 * @param {UploadStore} store
 */
export function isShared(record: UploadRecord, uploadId: string, store: UploadStore): Promise<boolean>;
import type { Outcome } from './types.js';
import type { UploadRecord } from './upload-store.js';
import type { UploadStore } from './upload-store.js';
