// Uppy 6: every request to storage is signed by the service, one by one.

import { persistently } from './retrying.js';
import { headersOf, known } from './uppy-files.js';
import { PATIENCE, UppyUploads } from './uppy-uploads.js';

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
export function uppyOptions(uppy, api, options) {
  const uploads = new UppyUploads(uppy, api, options, goOn);
  return {
    ...uploads.common,
    generateObjectKey: (/** @type {File} */ file) => known(file).objectKey,
    /** @param {UnsignedRequest} request */
    signRequest: async ({ method, key, uploadId: storageUploadId, partNumber, contentType }) => {
      const request = { uploadId: uploads.idOf(key), method: asMethod(method), key, storageUploadId, partNumber, contentType };
      const signing = persistently(() => api.signStorageRequest(request), PATIENCE);
      if (method === 'DELETE') uploads.lastWord(key, signing);
      const { url, headers } = await signing;
      return { url, headers: headersOf({ headers }) };
    },
  };
}

// It would need storage's own id of the multipart upload, which stays with the service.
function goOn() {
  return null;
}

/** @param {string} method */
function asMethod(method) {
  return /** @type {'GET' | 'PUT' | 'POST' | 'DELETE'} */ (method);
}
