// What went wrong, as a sentence for people, with what a program needs to decide what to do next.

/**
 * @typedef {object} ProblemFacts
 * @property {string} [code] the service's code, or one of our own: UNREACHABLE, STORAGE_REFUSED, FILE_UNREADABLE
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

/**
 * Whatever was thrown, as a Problem: mistakes in code are not worth repeating.
 * @param {unknown} thrown
 * @returns {Problem}
 */
export function problemOf(thrown) {
  if (thrown instanceof Problem) return thrown;
  return new Problem(thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}
