// Making a JPEG smaller before it is sent, for services that need no originals.

const JPEG = 'image/jpeg';

/**
 * A JPEG as large as the policy wants it, upright; other files, and those small enough, as they are.
 * Pixels are turned as EXIF says, since the copy carries no EXIF: position and camera stay on the device.
 * @param {Blob} file
 * @param {{ maxDimension: number, jpegQuality: number }} policy
 * @returns {Promise<Blob>}
 */
export async function resized(file, { maxDimension, jpegQuality }) {
  if (file.type !== JPEG) return file;
  const picture = await createImageBitmap(file, { imageOrientation: 'from-image' }).catch(() => null);
  // Not a picture that this browser can decode: the service says what it makes of it.
  if (!picture) return file;
  const share = maxDimension / Math.max(picture.width, picture.height);
  if (share >= 1) return file;
  const canvas = new OffscreenCanvas(Math.round(picture.width * share), Math.round(picture.height * share));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.imageSmoothingQuality = 'high';
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return canvas.convertToBlob({ type: JPEG, quality: jpegQuality / 100 });
}
