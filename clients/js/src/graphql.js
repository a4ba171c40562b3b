// GraphQL over HTTP: one request, one answer, every failure as a Problem.

import { Problem } from './problem.js';

const UNREACHABLE = 'The service cannot be reached. Check the connection, then try again.';
const FAULTY = 'The service answered with an error. Try again.';
const SIGN_IN = 'You are not signed in any more. Sign in again to go on.';
const PASSING_CODES = new Set(['INTERNAL', 'TEMPORARILY_UNAVAILABLE', 'RATE_LIMITED']);
const PASSING_STATUSES = new Set([408, 425, 429]);
const TIMEOUT_MS = 30_000;

/** @typedef {(isAgain: boolean) => string | null | Promise<string | null>} GetToken */

export class GraphQLEndpoint {
  #url;
  #getToken;
  #fetch;

  /**
   * @param {string} url
   * @param {object} [options]
   * @param {GetToken} [options.getToken] gives the bearer token; asked with `true` after one was refused
   * @param {typeof globalThis.fetch} [options.fetch]
   */
  constructor(url, { getToken = () => null, fetch = (...request) => globalThis.fetch(...request) } = {}) {
    this.#url = url;
    this.#getToken = getToken;
    this.#fetch = fetch;
  }

  /**
   * The `data` of the answer; a Problem if there is none.
   * @param {string} query
   * @param {Record<string, unknown>} variables
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async run(query, variables, signal) {
    const body = JSON.stringify({ query, variables });
    let response = await this.#post(body, false, signal);
    if (response.status === 401) response = await this.#post(body, true, signal);
    const answer = await response.json().catch(() => null);
    const [error] = answer?.errors ?? [];
    if (error || !answer?.data) throw asProblem(response.status, error);
    return answer.data;
  }

  /**
   * The payload of a mutation with one root field; its first user error as a Problem.
   * @param {string} query
   * @param {object} input
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async mutate(query, input, signal) {
    const [payload] = Object.values(await this.run(query, { input }, signal));
    if (!payload) throw new Problem(FAULTY, { code: 'INTERNAL', retryable: true });
    const [error] = payload.userErrors;
    if (error) throw new Problem(error.message, error);
    return payload;
  }

  /**
   * @param {string} body
   * @param {boolean} isAgain
   * @param {AbortSignal} [signal]
   */
  async #post(body, isAgain, signal) {
    const token = await this.#token(isAgain);
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    try {
      return await this.#fetch(this.#url, {
        method: 'POST',
        headers: {
          'Accept': 'application/graphql-response+json',
          'Content-Type': 'application/json',
          ...(token ? { 'Authorization': `Bearer ${token}` } : {}),
        },
        body,
        // A network that wants people to sign in sends requests elsewhere: what they say is not for others.
        redirect: 'error',
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      throw new Problem(UNREACHABLE, { code: 'UNREACHABLE', retryable: true, cause });
    }
  }

  // A page's own sign-in fails for the same reasons as our requests do.
  /** @param {boolean} isAgain */
  async #token(isAgain) {
    try {
      return await this.#getToken(isAgain);
    } catch (cause) {
      if (cause instanceof Problem) throw cause;
      throw new Problem(UNREACHABLE, { code: 'UNREACHABLE', retryable: true, cause });
    }
  }
}

/**
 * What says neither `data` nor `errors` is not from the service: a network's sign-in page, a proxy.
 * @param {number} status
 * @param {{ message?: string, extensions?: { code?: string, retryAfterMs?: number } }} [error]
 */
function asProblem(status, error) {
  if (status === 401) return new Problem(SIGN_IN, { code: 'UNAUTHENTICATED' });
  const code = error?.extensions?.code ?? (error && status < 500 ? 'INVALID_ANSWER' : 'UNREACHABLE');
  return new Problem(error?.message ?? UNREACHABLE, {
    code,
    retryable: !error || status >= 500 || PASSING_STATUSES.has(status) || PASSING_CODES.has(code),
    retryAfterMs: error?.extensions?.retryAfterMs,
  });
}
