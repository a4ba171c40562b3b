/**
 * Whether the file can be given up. Anything else may be a fault of the network, of the sign-in or of the service.
 * @param {Problem} problem
 * @param {boolean} isAccepted whether the service has planned its upload
 */
export function isVerdict({ code, retryable }: Problem, isAccepted: boolean): boolean;
/** @param {Problem} problem */
export function asksForSignIn({ code }: Problem): boolean;
/**
 * Whatever was thrown, as a Problem: mistakes in code are not worth repeating.
 * @param {unknown} thrown
 * @returns {Problem}
 */
export function problemOf(thrown: unknown): Problem;
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
    constructor(message: string, { code, retryable, retryAfterMs, cause }?: ProblemFacts);
    code: string;
    retryable: boolean;
    retryAfterMs: number;
}
export type ProblemFacts = {
    /**
     * the service's code, or one of our own: UNREACHABLE, UNAUTHENTICATED,
     * OTHER_USER, STORAGE_REFUSED, FILE_UNREADABLE, FILE_NEEDED
     */
    code?: string | undefined;
    /**
     * whether the same request may succeed later
     */
    retryable?: boolean | undefined;
    /**
     * not before so many milliseconds
     */
    retryAfterMs?: number | null | undefined;
    cause?: unknown;
};
