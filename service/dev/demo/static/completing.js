// A photo can be shown before all of it is made: the smaller formats, the large size and what plays come a little later.

import { request } from '/demo/api.js';
import { AGAIN } from '/demo/operations.js';

const FIRST_PAUSE_MS = 300;
// After three minutes in all, whoever still wants the rest reloads the page.
const LONGEST_PAUSE_MS = 60_000;

// The media once it has everything; undefined if that takes too long, or if it is gone.
export async function whenComplete({ id }, hint) {
  for (let pause = FIRST_PAUSE_MS; pause < LONGEST_PAUSE_MS; pause *= 1.5) {
    await new Promise((resolve) => { setTimeout(resolve, pause); });
    const { media } = await request(AGAIN, { id, hint }).catch(() => ({}));
    if (media === null || media?.renditionsComplete) return media ?? undefined;
  }
  return undefined;
}
