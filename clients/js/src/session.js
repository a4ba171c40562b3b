// An upload as the service and storage know it: what has arrived, and what is left to do.

import { Problem } from './problem.js';

/**
 * @import { MediaApi } from './media-api.js'
 * @import { CompletedPart, Session } from './types.js'
 */

/** Statuses of media whose bytes have not all arrived. */
export const AWAITS_BYTES = new Set(['INITIATED', 'UPLOADING']);

/**
 * The upload as the service knows it now. Raises a Problem (UPLOAD_EXPIRED) if it has ended without its file.
 * @param {MediaApi} api
 * @param {string} id
 * @param {AbortSignal} signal
 */
export async function currentSession(api, id, signal) {
  const session = await api.upload(id, signal);
  if (!session || session.media.status === 'EXPIRED' || session.media.status === 'DELETED') {
    throw new Problem('The upload has expired. Start it again.', { code: 'UPLOAD_EXPIRED' });
  }
  return session;
}

/**
 * Whether storage has every byte, as a whole or in parts: all that is left is to complete.
 * @param {Session} session
 */
export function hasArrived({ bytesConfirmed, byteSize }) {
  return bytesConfirmed >= byteSize;
}

/**
 * Whether parts are being sent, by this page or another.
 * @param {Session} session
 */
export function isBegun(session) {
  return session.media.status === 'UPLOADING' && !hasArrived(session);
}

/**
 * The parts to complete with what has arrived; none where storage has it as a whole, put together by an earlier call.
 * @param {Session} session
 * @returns {CompletedPart[] | undefined}
 */
export function confirmedParts({ parts }) {
  return parts.length ? parts.map(({ number, etag }) => ({ number, etag })) : undefined;
}
