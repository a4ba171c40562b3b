// Trying again: after 1, 2 and 4 seconds, or later where the service asked for it.

const DELAYS_MS = [1000, 2000, 4000];

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export async function withRetries(attempt) {
  for (const delay of DELAYS_MS) {
    try {
      return await attempt();
    } catch (error) {
      if (!error.retryable) throw error;
      await pause(Math.max(delay, error.retryAfterMs ?? 0));
    }
  }
  return attempt();
}
