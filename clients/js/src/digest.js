// SHA-256 by the browser itself, which takes whole buffers only.

import { Problem } from './problem.js';

const UNREADABLE = 'The file cannot be read: it was moved or changed. Choose it again.';

/**
 * SHA-256 in lower-case hex. Raises a Problem (FILE_UNREADABLE) if the file is not what it was.
 * @param {Blob} blob
 */
export async function sha256(blob) {
  const digest = await crypto.subtle.digest('SHA-256', await bytesOf(blob));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Raises a Problem (FILE_UNREADABLE) if not even the first byte can be read.
 * @param {Blob} blob
 */
export async function assertReadable(blob) {
  await bytesOf(blob.slice(0, 1));
}

/** @param {Blob} blob */
async function bytesOf(blob) {
  try {
    return await blob.arrayBuffer();
  } catch (cause) {
    throw new Problem(UNREADABLE, { code: 'FILE_UNREADABLE', cause });
  }
}
