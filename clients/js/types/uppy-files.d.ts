/**
 * @import { BatchDetails, Session, UploadTarget } from './types.js'
 * @import { Description } from './upload-store.js'
 */
/**
 * @typedef {Pick<Session, 'id' | 'objectKey' | 'method' | 'partSize'> & { isDone?: boolean }} KnownUpload
 * @typedef {{ id: string, name: string, type: string, size: number | null, data: Blob, error?: string | null, mediaUpload?: KnownUpload, meta?: { mediaId?: string, isDuplicate?: boolean }, progress?: object }} File
 *
 * @typedef {object} Uppy what we use of it
 * @property {(id: string) => File | undefined} getFile
 * @property {() => File[]} getFiles
 * @property {(id: string, state: object) => void} setFileState
 * @property {(id: string, meta: object) => void} setFileMeta
 * @property {(step: (ids: string[]) => Promise<void>) => void} addPreProcessor
 * @property {(step: (ids: string[]) => Promise<void>) => void} addPostProcessor
 * @property {(event: any, listener: (file: any, details: any) => void) => unknown} on
 * @property {(event: any, ...details: any[]) => void} emit
 *
 * @typedef {BatchDetails & { describe?: (file: any) => Description }} UppyUploadOptions
 */
/**
 * @param {File} file
 * @returns {KnownUpload}
 */
export function known(file: File): KnownUpload;
/**
 * Whether a file counts as uploaded with the bytes of another.
 * @param {File} file
 * @param {File} other
 */
export function isFollower({ meta }: File, other: File): boolean;
/** @param {Pick<UploadTarget, 'headers'>} target */
export function headersOf({ headers }: Pick<UploadTarget, "headers">): {
    [k: string]: string;
};
export type KnownUpload = Pick<Session, "id" | "objectKey" | "method" | "partSize"> & {
    isDone?: boolean;
};
export type File = {
    id: string;
    name: string;
    type: string;
    size: number | null;
    data: Blob;
    error?: string | null;
    mediaUpload?: KnownUpload;
    meta?: {
        mediaId?: string;
        isDuplicate?: boolean;
    };
    progress?: object;
};
/**
 * what we use of it
 */
export type Uppy = {
    getFile: (id: string) => File | undefined;
    getFiles: () => File[];
    setFileState: (id: string, state: object) => void;
    setFileMeta: (id: string, meta: object) => void;
    addPreProcessor: (step: (ids: string[]) => Promise<void>) => void;
    addPostProcessor: (step: (ids: string[]) => Promise<void>) => void;
    on: (event: any, listener: (file: any, details: any) => void) => unknown;
    emit: (event: any, ...details: any[]) => void;
};
export type UppyUploadOptions = BatchDetails & {
    describe?: (file: any) => Description;
};
import type { UploadTarget } from './types.js';
import type { Session } from './types.js';
import type { BatchDetails } from './types.js';
import type { Description } from './upload-store.js';
