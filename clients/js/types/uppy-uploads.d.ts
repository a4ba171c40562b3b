/**
 * @import { MediaApi } from './media-api.js'
 * @import { FileDescription, Outcome, Session } from './types.js'
 * @import { File, KnownUpload, Uppy, UppyUploadOptions } from './uppy-files.js'
 */
/** Addresses are signed for one creation of these very bytes: what is there came from a try whose answer was lost. */
export const ALREADY_THERE: 412;
export namespace PATIENCE {
    export function delaysMs(): number[];
    export { browserConnectivity as connectivity };
}
export class UppyUploads {
    /**
     * @param {Uppy} uppy
     * @param {MediaApi} api
     * @param {UppyUploadOptions} options
     * @param {(session: Session) => object | null} goOn the state of a file that an earlier page has sent parts of; null
     *   where Uppy has to begin anew
     */
    constructor(uppy: Uppy, api: MediaApi, { describe, ...details }: UppyUploadOptions, goOn: (session: Session) => object | null);
    common: {
        limit: number;
        shouldUseMultipart: (file: File) => boolean;
        getChunkSize: ({ size }: {
            size: number;
        }) => number;
    };
    /** @param {string} key */
    idOf(key: string): string;
    /**
     * @param {string} id
     * @param {AbortSignal} [signal]
     */
    current(id: string, signal?: AbortSignal): Promise<Session>;
    /**
     * @param {File} file
     * @param {Parameters<MediaApi['completeUpload']>[0]} input
     * @param {AbortSignal} [signal]
     */
    complete(file: File, input: Parameters<MediaApi["completeUpload"]>[0], signal?: AbortSignal): Promise<void>;
    /**
     * @param {File} file
     * @param {string} uploadId
     */
    abort(file: File, uploadId: string): Promise<void>;
    /**
     * Uppy's own request to abort must be signed before the service ends the upload.
     * @param {string} key
     * @param {Promise<unknown>} signing
     */
    lastWord(key: string, signing: Promise<unknown>): void;
    #private;
}
import { browserConnectivity } from './connectivity.js';
import type { File } from './uppy-files.js';
import type { Session } from './types.js';
import type { MediaApi } from './media-api.js';
import type { Uppy } from './uppy-files.js';
import type { UppyUploadOptions } from './uppy-files.js';
