// Uppy 5: the service's upload stands for the multipart upload, whose own id stays there.

import { sha256 } from './digest.js';
import { Problem } from './problem.js';
import { persistently } from './retrying.js';
import { headersOf, known } from './uppy-files.js';
import { ALREADY_THERE, PATIENCE, UppyUploads } from './uppy-uploads.js';

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
export function uppy5Options(uppy, api, options) {
  const uploads = new UppyUploads(uppy, api, options, goOn);
  return {
    ...uploads.common,
    getUploadParameters: async (/** @type {File} */ file) => {
      const { target } = await uploads.current(known(file).id);
      if (!target) throw Object.assign(new Problem('The file is there already.'), { status: ALREADY_THERE });
      return parametersOf(target);
    },
    createMultipartUpload: async (/** @type {File} */ file) => {
      const { id, objectKey } = known(file);
      return { uploadId: id, key: objectKey };
    },
    /**
     * @param {File} _file
     * @param {MultipartReference & { partNumber: number, body: Blob }} part
     */
    signPart: async (_file, { uploadId, partNumber, body, signal }) => {
      const partChecksums = [{ number: partNumber, sha256: await sha256(body) }];
      const input = { uploadId, partNumbers: [partNumber], partChecksums };
      const [signed] = await persistently(() => api.signUploadParts(input, signal), PATIENCE, signal);
      return parametersOf(/** @type {{ target: UploadTarget }} */ (signed).target);
    },
    /**
     * @param {File} _file
     * @param {MultipartReference} reference
     */
    listParts: async (_file, { uploadId, signal }) => {
      const { parts } = await uploads.current(uploadId, signal);
      return parts.map(({ number, byteSize, etag }) => ({ PartNumber: number, Size: byteSize, ETag: etag }));
    },
    /**
     * @param {File} file
     * @param {MultipartReference & { parts: { PartNumber?: number, ETag?: string }[] }} reference
     */
    completeMultipartUpload: async (file, { uploadId, parts, signal }) => {
      const completed = parts.map(({ PartNumber = 0, ETag = '' }) => ({ number: PartNumber, etag: ETag.replaceAll('"', '') }));
      await uploads.complete(file, { idempotencyKey: crypto.randomUUID(), uploadId, parts: completed }, signal);
      return {};
    },
    /**
     * @param {File} file
     * @param {MultipartReference} reference
     */
    abortMultipartUpload: (file, { uploadId }) => uploads.abort(file, uploadId),
  };
}

/**
 * What an earlier page began is for Uppy an upload to restore: it asks which parts are there.
 * @param {Session} session
 */
function goOn({ id, objectKey }) {
  return { s3Multipart: { uploadId: id, key: objectKey } };
}

/** @param {UploadTarget} target */
function parametersOf(target) {
  return { method: /** @type {const} */ ('PUT'), url: target.url, headers: headersOf(target) };
}
