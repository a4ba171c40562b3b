// GraphQL over HTTP, signed in with the session that the development server hands to its own pages.

import { GraphQLEndpoint } from '/demo/client/graphql.js';
import { Problem } from '/demo/client/problem.js';

export { Problem };

const UNREACHABLE = 'The service cannot be reached. Check that it runs, then try again.';

const endpoint = new GraphQLEndpoint('/graphql', { getToken });

let session;

// The token, fetched once; a new one after `forgetSession`.
export function token() {
  session ??= openSession().catch((error) => { session = undefined; throw error; });
  return session;
}

export function forgetSession() { session = undefined; }

// For whoever is refused with the last one.
export function getToken(isAgain) {
  if (isAgain) forgetSession();
  return token();
}

export function request(query, variables = {}) { return endpoint.run(query, variables); }

// Runs a mutation with one root field; its first user error is thrown.
export function mutate(query, input) { return endpoint.mutate(query, input); }

async function openSession() {
  const response = await fetch('/demo/session', { method: 'POST' }).catch(() => {
    throw new Problem(UNREACHABLE, { retryable: true });
  });
  const answer = await response.json();
  if (!response.ok) throw new Problem(answer.message, { retryable: response.status >= 500 });
  return answer.token;
}
