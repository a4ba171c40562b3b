// GraphQL over HTTP, signed in with the session that the development server hands to its own pages.

export class Problem extends Error {
  constructor(message, { retryable = false, retryAfterMs = 0 } = {}) {
    super(message);
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs ?? 0;
  }
}

const UNREACHABLE = 'The service cannot be reached. Check that it runs, then try again.';

let session;

// The token, fetched once; a new one after `forgetSession`.
export function token() {
  session ??= openSession().catch((error) => { session = undefined; throw error; });
  return session;
}

export function forgetSession() { session = undefined; }

async function openSession() {
  const response = await reach('/demo/session', { method: 'POST' });
  const answer = await response.json();
  if (!response.ok) throw new Problem(answer.message, { retryable: response.status >= 500 });
  return answer.token;
}

export async function request(query, variables = {}) {
  let response = await post(query, variables);
  if (response.status === 401) {
    forgetSession();
    response = await post(query, variables);
  }
  const answer = await response.json().catch(() => ({}));
  const [error] = answer.errors ?? [];
  if (error || !answer.data) {
    throw new Problem(error?.message ?? UNREACHABLE, { retryable: response.status >= 500 || isPassing(error) });
  }
  return answer.data;
}

// Runs a mutation with one root field; its first user error is thrown.
export async function mutate(query, input) {
  const [payload] = Object.values(await request(query, { input }));
  if (!payload) throw new Problem('The service answered with an error. Try again.', { retryable: true });
  refuse(payload.userErrors);
  return payload;
}

export function refuse([error]) {
  if (error) throw new Problem(error.message, error);
}

async function post(query, variables) {
  return reach('/graphql', {
    method: 'POST',
    headers: {
      'Accept': 'application/graphql-response+json',
      'Authorization': `Bearer ${await token()}`,
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({ query, variables }),
  });
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Problem(UNREACHABLE, { retryable: true });
  }
}

function isPassing(error) {
  return ['INTERNAL', 'TEMPORARILY_UNAVAILABLE', 'RATE_LIMITED'].includes(error?.extensions?.code);
}
