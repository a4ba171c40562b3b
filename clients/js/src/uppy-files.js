// What Uppy keeps of a file, and what of it is ours.

import { Problem } from './problem.js';

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
export function known(file) {
  if (!file.mediaUpload) throw new Problem(`${file.name} was not announced.`, { code: 'NOT_FOUND' });
  return file.mediaUpload;
}

/**
 * Whether a file counts as uploaded with the bytes of another.
 * @param {File} file
 * @param {File} other
 */
export function isFollower({ meta }, other) {
  return !!meta?.isDuplicate && meta.mediaId === other.meta?.mediaId;
}

/** @param {Pick<UploadTarget, 'headers'>} target */
export function headersOf({ headers }) {
  return Object.fromEntries(headers.map(({ name, value }) => [name, value]));
}
