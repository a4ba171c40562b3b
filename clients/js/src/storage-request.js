// One request with bytes, by XMLHttpRequest: fetch tells nothing of the progress of what it sends.

import { Problem } from './problem.js';

/** @import { UploadTarget } from './types.js' */

/**
 * @typedef {object} SendOptions
 * @property {AbortSignal} signal
 * @property {(bytes: number) => void} onProgress hears how many bytes have left
 *
 * @typedef {{ status: number, etag: string | null, code?: string }} StorageAnswer `etag` without its quotes; `code` of a
 *   refusal: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 * @typedef {(target: UploadTarget, body: Blob, options: SendOptions) => Promise<StorageAnswer>} Send
 */

// A phone that loses its signal tells nobody: silence for so long ends the request.
const STALLED_MS = 30_000;

/** @type {Send} */
export function send(target, body, { signal, onProgress }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const xhr = new XMLHttpRequest();
    const watch = silenceWatch(() => xhr.abort());
    const stop = () => xhr.abort();
    signal.addEventListener('abort', stop, { once: true });
    xhr.open(target.method, target.url);
    for (const { name, value } of target.headers) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = ({ loaded }) => {
      watch.heard();
      onProgress(loaded);
    };
    xhr.onloadend = () => {
      watch.end();
      signal.removeEventListener('abort', stop);
      if (signal.aborted) reject(signal.reason);
      else if (xhr.status === 0) reject(broken());
      else resolve({ status: xhr.status, etag: unquoted(xhr.getResponseHeader('ETag')), code: codeIn(xhr.responseText) });
    };
    xhr.send(body);
  });
}

function broken() {
  const message = 'Storage cannot be reached. Check the connection, then try again.';
  return new Problem(message, { code: 'UNREACHABLE', retryable: true });
}

/** @param {() => void} onSilence */
function silenceWatch(onSilence) {
  let timer = setTimeout(onSilence, STALLED_MS);
  return {
    heard() {
      clearTimeout(timer);
      timer = setTimeout(onSilence, STALLED_MS);
    },
    end: () => clearTimeout(timer),
  };
}

/** @param {string} xml */
function codeIn(xml) {
  return /<Code>(\w+)<\/Code>/.exec(xml)?.[1];
}

/**
 * @param {string | null} etag
 * @returns {string | null}
 */
function unquoted(etag) {
  return etag?.replace(/^"|"$/g, '') ?? null;
}
