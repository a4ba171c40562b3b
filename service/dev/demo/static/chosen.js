// What the page itself can tell of a chosen file.

import { Problem } from '/demo/api.js';

// What iPhones write, and many systems have no type for.
const OWN_TYPES = { heic: 'image/heic', heif: 'image/heif' };
const HEIC_REMEDY = 'HEIC photos are not accepted. Export this one as JPEG and choose that file; '
  + 'on an iPhone, Settings › Camera › Formats › Most Compatible makes the next ones JPEG.';

export function typeOf({ type, name }) {
  return type || OWN_TYPES[name.split('.').at(-1).toLowerCase()] || 'application/octet-stream';
}

// Why it is not even announced: nothing, or a Problem.
export async function problemOf(file) {
  if (!file.size) return new Problem('The file is empty. Choose one that holds a photo.');
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return new Problem('The file cannot be read: it is a folder, or was moved or changed. Choose it again.');
  }
  return undefined;
}

// What the service says to a type it does not accept, with a way out where one is known.
export function inOurWords(problem, { name, file }) {
  const isHeic = Object.values(OWN_TYPES).includes(typeOf({ name, type: file?.type }));
  return problem.code === 'TYPE_NOT_ALLOWED' && isHeic ? new Problem(HEIC_REMEDY) : problem;
}
