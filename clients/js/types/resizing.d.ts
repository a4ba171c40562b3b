/**
 * A JPEG as large as the policy wants it, upright; other files, and those small enough, as they are.
 * Pixels are turned as EXIF says, since the copy carries no EXIF: position and camera stay on the device.
 * @param {Blob} file
 * @param {{ maxDimension: number, jpegQuality: number }} policy
 * @returns {Promise<Blob>}
 */
export function resized(file: Blob, { maxDimension, jpegQuality }: {
    maxDimension: number;
    jpegQuality: number;
}): Promise<Blob>;
