/**
 * @import { MediaApi } from './media-api.js'
 * @import { File, UppyUploadOptions } from './uppy-files.js'
 *
 * @typedef {{ method: string, key: string, uploadId?: string, partNumber?: number, contentType?: string }} UnsignedRequest
 */
/**
 * Options for `@uppy/aws-s3` 6.
 * @param {any} uppy
 * @param {MediaApi} api
 * @param {UppyUploadOptions} options
 */
export function uppyOptions(uppy: any, api: MediaApi, options: UppyUploadOptions): {
    generateObjectKey: (file: File) => string;
    /** @param {UnsignedRequest} request */
    signRequest: ({ method, key, uploadId: storageUploadId, partNumber, contentType }: UnsignedRequest) => Promise<{
        url: string;
        headers: {
            [k: string]: string;
        };
    }>;
    limit: number;
    shouldUseMultipart: (file: File) => boolean;
    getChunkSize: ({ size }: {
        size: number;
    }) => number;
};
export type UnsignedRequest = {
    method: string;
    key: string;
    uploadId?: string;
    partNumber?: number;
    contentType?: string;
};
import type { MediaApi } from './media-api.js';
import type { UppyUploadOptions } from './uppy-files.js';
import type { File } from './uppy-files.js';
