// What went wrong, as a sentence for people, with what a program needs to decide what to do next.

/**
 * @typedef {object} ProblemFacts
 * @property {string} [code] the service's code, or one of our own: UNREACHABLE, UNAUTHENTICATED,
 *   OTHER_USER, STORAGE_REFUSED, FILE_UNREADABLE, FILE_NEEDED
 * @property {boolean} [retryable] whether the same request may succeed later
 * @property {number | null} [retryAfterMs] not before so many milliseconds
 * @property {unknown} [cause]
 */

export class Problem extends Error {
  /**
   * @param {string} message
   * @param {ProblemFacts} [facts]
   */
  constructor(message, { code = 'UNKNOWN', retryable = false, retryAfterMs = 0, cause } = {}) {
    super(message, { cause });
    this.name = 'Problem';
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs ?? 0;
  }
}

// What is wrong with the file itself: no later try can end otherwise.
const ABOUT_THE_FILE = new Set([
  'TYPE_NOT_ALLOWED', 'TOO_LARGE', 'CHECKSUM_MISMATCH', 'STORAGE_REFUSED', 'FILE_UNREADABLE',
]);
// Likewise with what is said of it, as long as it has not been accepted.
const ABOUT_ITS_DESCRIPTION = new Set(['INVALID_INPUT', 'NOT_FOUND']);
// For whoever has signed in to put right.
const ABOUT_THE_VIEWER = new Set(['UNAUTHENTICATED', 'NOT_PERMITTED', 'OTHER_USER']);

/**
 * Whether the file can be given up. Anything else may be a fault of the network, of the sign-in or of the service.
 * @param {Problem} problem
 * @param {boolean} isAccepted whether the service has planned its upload
 */
export function isVerdict({ code, retryable }, isAccepted) {
  return !retryable && (ABOUT_THE_FILE.has(code) || (!isAccepted && ABOUT_ITS_DESCRIPTION.has(code)));
}

/** @param {Problem} problem */
export function asksForSignIn({ code }) {
  return ABOUT_THE_VIEWER.has(code);
}

/**
 * Whatever was thrown, as a Problem: mistakes in code are not worth repeating.
 * @param {unknown} thrown
 * @returns {Problem}
 */
export function problemOf(thrown) {
  if (thrown instanceof Problem) return thrown;
  return new Problem(thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}
