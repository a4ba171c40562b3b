// What the page itself can tell of a chosen file.

import { Problem } from '/demo/api.js';

// Why it is not even announced: nothing, or a Problem.
export async function problemOf(file) {
  if (!file.size) return new Problem('The file is empty. Choose one that holds a photo or a clip.');
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return new Problem('The file cannot be read: it is a folder, or was moved or changed. Choose it again.');
  }
  return undefined;
}
