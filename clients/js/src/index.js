// Uploads to the media service from a browser. Start with UploadClient.

/**
 * @typedef {import('./types.js').BatchDetails} BatchDetails
 * @typedef {import('./types.js').MediaReference} MediaReference
 * @typedef {import('./upload-client.js').AddOptions} AddOptions
 * @typedef {import('./upload-client.js').ClientOptions} ClientOptions
 * @typedef {import('./upload-store.js').UploadStore} UploadStore
 * @typedef {import('./upload.js').UploadState} UploadState
 */

export { MediaApi } from './media-api.js';
export { Problem } from './problem.js';
export { Upload } from './upload.js';
export { UploadClient, UploadEvent } from './upload-client.js';
export { IndexedDbStore, MemoryStore } from './upload-store.js';
