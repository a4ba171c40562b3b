/**
 * The upload as the service knows it now. Raises a Problem (UPLOAD_EXPIRED) if it has ended without its file.
 * @param {MediaApi} api
 * @param {string} id
 * @param {AbortSignal} signal
 */
export function currentSession(api: MediaApi, id: string, signal: AbortSignal): Promise<Session>;
/**
 * Whether storage has every byte, as a whole or in parts: all that is left is to complete.
 * @param {Session} session
 */
export function hasArrived({ bytesConfirmed, byteSize }: Session): boolean;
/**
 * Whether parts are being sent, by this page or another.
 * @param {Session} session
 */
export function isBegun(session: Session): boolean;
/**
 * The parts to complete with what has arrived; none where storage has it as a whole, put together by an earlier call.
 * @param {Session} session
 * @returns {CompletedPart[] | undefined}
 */
export function confirmedParts({ parts }: Session): CompletedPart[] | undefined;
/**
 * @import { MediaApi } from './media-api.js'
 * @import { CompletedPart, Session } from './types.js'
 */
/** Statuses of media whose bytes have not all arrived. */
export const AWAITS_BYTES: Set<string>;
import type { MediaApi } from './media-api.js';
import type { Session } from './types.js';
import type { CompletedPart } from './types.js';
