// Sending bytes straight to storage, exactly as the service signed the request.

import { Problem } from '/demo/api.js';

const CREATED = 200;
// The address is signed for these very bytes and for one creation: what is there came from a lost earlier try.
const ALREADY_THERE = 412;
const EXPIRED = 403;
const PASSING = new Set([0, 408, 429, 500, 502, 503, 504]);

// One PUT; `onProgress` hears 0 to 1.
export async function put(file, target, onProgress) {
  const status = await send(file, target, onProgress);
  if (status === CREATED || status === ALREADY_THERE) return;
  if (status === EXPIRED) throw new Problem('The permission to upload ran out. Try again.', { retryable: true });
  if (PASSING.has(status)) {
    throw new Problem('Storage cannot be reached. Check the connection, then try again.', { retryable: true });
  }
  throw new Problem(`Storage refused the file (${status}): it changed since it was chosen. Choose it again.`);
}

function send(file, target, onProgress) {
  return new Promise((resolve) => {
    const xhr = new XMLHttpRequest();
    xhr.open(target.method, target.url);
    for (const { name, value } of target.headers) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = ({ loaded, total }) => onProgress(loaded / total);
    xhr.onloadend = () => resolve(xhr.status);
    xhr.send(file);
  });
}

// Lower-case hex.
export async function sha256(file) {
  let bytes;
  try {
    bytes = await file.arrayBuffer();
  } catch {
    throw new Problem('The file cannot be read: it was moved or changed. Choose it again.');
  }
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
