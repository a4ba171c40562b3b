// What a file is: by its first bytes where they tell, since names and the types that browsers make of them may not.

const HEAD_BYTES = 64;

/** Signatures at the start. @type {[RegExp, string][]} */
const SIGNATURES = [
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^\x89PNG\r\n\x1a\n/, 'image/png'],
  [/^GIF8[79]a/, 'image/gif'],
  [/^RIFF[^]{4}WEBP/, 'image/webp'],
  // The document type of EBML: https://www.rfc-editor.org/rfc/rfc8794.
  [/^\x1a\x45\xdf\xa3[^]*\x42\x82\x84webm/, 'video/webm'],
  // QuickTime files are older than `ftyp`.
  [/^[^]{4}(moov|mdat|wide)/, 'video/quicktime'],
];

/** Brands of ISO base media files, of which the first that is listed tells: https://mp4ra.org. @type {[RegExp, string][]} */
const BRANDS = [
  [/^avi[fs]$/, 'image/avif'],
  [/^he(ic|ix|vc|vx|im|is|vm|vs)$/, 'image/heic'],
  [/^qt {2}$/, 'video/quicktime'],
  [/^(iso[m2-9]|mp4[12]|avc1|hvc1|M4V[ HP]|MSNV|XAVC|dash)$/, 'video/mp4'],
];

/** For bytes that tell nothing, from systems that know no type. @type {Record<string, string>} */
const EXTENSIONS = {
  avif: 'image/avif',
  heic: 'image/heic',
  heif: 'image/heif',
  mov: 'video/quicktime',
  mp4: 'video/mp4',
  webm: 'video/webm',
};

/**
 * The content type to announce a file with: what its bytes say; else its own type, or what its name stands for.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<string>}
 */
export async function contentTypeOf(file, name) {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()));
  const extension = /** @type {string} */ (name.split('.').at(-1)).toLowerCase();
  return told(head) ?? (file.type || EXTENSIONS[extension] || 'application/octet-stream');
}

/** @param {string} head a character a byte */
function told(head) {
  if (head.slice(4, 8) === 'ftyp') return brandOf(head);
  return SIGNATURES.find(([signature]) => signature.test(head))?.[1];
}

/** @param {string} head */
function brandOf(head) {
  const end = Math.min(head.charCodeAt(2) * 256 + head.charCodeAt(3), head.length);
  const compatible = head.slice(16, end).match(/[^]{4}/g) ?? [];
  for (const brand of [head.slice(8, 12), ...compatible]) {
    const known = BRANDS.find(([brands]) => brands.test(brand));
    if (known) return known[1];
  }
  return undefined;
}
