/**
 * Sends what storage lacks of `file`; the parts to complete with, none for a file sent whole.
 * @param {Session} session
 * @param {Blob} file
 * @param {Transfer} transfer
 * @returns {Promise<CompletedPart[] | undefined>}
 */
export function transferFile(session: Session, file: Blob, transfer: Transfer): Promise<CompletedPart[] | undefined>;
export type Transfer = {
    api: MediaApi;
    send: Send;
    patience: Patience;
    partsAtOnce: number;
    signal: AbortSignal;
    /**
     * hears how many bytes of the file have left
     */
    onProgress: (bytes: number) => void;
};
import type { Session } from './types.js';
import type { CompletedPart } from './types.js';
import type { MediaApi } from './media-api.js';
import type { Send } from './storage-request.js';
import type { Patience } from './retrying.js';
