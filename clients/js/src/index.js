// Uploads to the media service from a browser. Start with UploadClient.

export { MediaApi } from './media-api.js';
export { Problem } from './problem.js';
export { Upload } from './upload.js';
export { UploadClient, UploadEvent } from './upload-client.js';
export { IndexedDbStore, MemoryStore } from './upload-store.js';
