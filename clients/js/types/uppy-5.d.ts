/**
 * @import { MediaApi } from './media-api.js'
 * @import { Session, UploadTarget } from './types.js'
 * @import { File, UppyUploadOptions } from './uppy-files.js'
 *
 * @typedef {{ key: string, uploadId: string, signal?: AbortSignal }} MultipartReference
 */
/**
 * Options for `@uppy/aws-s3` 5.
 * @param {any} uppy
 * @param {MediaApi} api
 * @param {UppyUploadOptions} options
 */
export function uppy5Options(uppy: any, api: MediaApi, options: UppyUploadOptions): {
    getUploadParameters: (file: File) => Promise<{
        method: "PUT";
        url: string;
        headers: {
            [k: string]: string;
        };
    }>;
    createMultipartUpload: (file: File) => Promise<{
        uploadId: string;
        key: string;
    }>;
    /**
     * @param {File} _file
     * @param {MultipartReference & { partNumber: number, body: Blob }} part
     */
    signPart: (_file: File, { uploadId, partNumber, body, signal }: MultipartReference & {
        partNumber: number;
        body: Blob;
    }) => Promise<{
        method: "PUT";
        url: string;
        headers: {
            [k: string]: string;
        };
    }>;
    /**
     * @param {File} _file
     * @param {MultipartReference} reference
     */
    listParts: (_file: File, { uploadId, signal }: MultipartReference) => Promise<{
        PartNumber: number;
        Size: number;
        ETag: string;
    }[]>;
    /**
     * @param {File} file
     * @param {MultipartReference & { parts: { PartNumber?: number, ETag?: string }[] }} reference
     */
    completeMultipartUpload: (file: File, { uploadId, parts, signal }: MultipartReference & {
        parts: {
            PartNumber?: number;
            ETag?: string;
        }[];
    }) => Promise<{}>;
    /**
     * @param {File} file
     * @param {MultipartReference} reference
     */
    abortMultipartUpload: (file: File, { uploadId }: MultipartReference) => Promise<void>;
    limit: number;
    shouldUseMultipart: (file: File) => boolean;
    getChunkSize: ({ size }: {
        size: number;
    }) => number;
};
export type MultipartReference = {
    key: string;
    uploadId: string;
    signal?: AbortSignal;
};
import type { MediaApi } from './media-api.js';
import type { UppyUploadOptions } from './uppy-files.js';
import type { File } from './uppy-files.js';
