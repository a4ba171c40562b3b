// One file, chosen twice: its uploads share a session, and what becomes of one must not end the other.

import { AWAITS_BYTES } from './session.js';

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
export function withTwin(outcome, outcomes) {
  const { duplicate } = outcome;
  if (!duplicate || !AWAITS_BYTES.has(duplicate.status)) return outcome;
  return outcomes.find(({ upload }) => upload?.media.id === duplicate.id) ?? outcome;
}

/**
 * Whether another upload, in whichever tab, still needs the session of this one.
 * @param {UploadRecord} record
 * @param {string} uploadId
 * @param {UploadStore} store
 */
export async function isShared(record, uploadId, store) {
  const others = (await store.all().catch(() => [])).filter(({ id, isCancelled }) => id !== record.id && !isCancelled);
  return others.some((other) => (other.uploadId ? other.uploadId === uploadId : areTwins(other, record)));
}

/**
 * Whether they were announced together, as the same bytes.
 * @param {UploadRecord} one
 * @param {UploadRecord} other
 */
function areTwins({ batch: one }, { batch: other }) {
  const [digest, same] = [one, other].map((batch) => batch?.input.files[batch.index]?.sha256);
  return !!digest && digest === same && one?.input.idempotencyKey === other?.input.idempotencyKey;
}
