/**
 * SHA-256 in lower-case hex. Raises a Problem (FILE_UNREADABLE) if the file is not what it was.
 * @param {Blob} blob
 */
export function sha256(blob: Blob): Promise<string>;
/**
 * Raises a Problem (FILE_UNREADABLE) if not even the first byte can be read.
 * @param {Blob} blob
 */
export function assertReadable(blob: Blob): Promise<void>;
