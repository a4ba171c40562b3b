// Signed CloudFront URLs: as @aws-sdk/cloudfront-signer shows it, and with everything that can be known beforehand.

import { createPrivateKey, sign } from "node:crypto";
import { crc32 } from "node:zlib";
import { getSignedUrl } from "@aws-sdk/cloudfront-signer";

const HOURS = 3_600_000;
const MEMOISED = 20_000;

/** One signature a URL, made by the SDK when it is asked for. */
export function signAsDocumented({ baseUrl, rsa }) {
  const url = (key) =>
    getSignedUrl({
      url: `${baseUrl}/${key}`,
      keyPairId: rsa.id,
      privateKey: rsa.pem,
      dateLessThan: new Date(Date.now() + 6 * HOURS).toISOString(),
    });
  return {
    one: (_media, rendition) => url(rendition.key),
    together: (_media, renditions) => renditions.map((each) => () => url(each.key)),
  };
}

/** The key parsed once, and the service's own windows: within one, nothing is signed twice. */
export function signWithAdvantages({ baseUrl, ecdsa, lifetimes, sharedLifetime }) {
  const privateKey = createPrivateKey(ecdsa.pem);
  const tail = `&Key-Pair-Id=${ecdsa.id}&Hash-Algorithm=SHA256`;
  const signed = (policy) => `&Signature=${cloudFront(sign("sha256", Buffer.from(policy), privateKey))}${tail}`;
  const memoised = new Map();
  const once = (name, expires, make) => {
    const known = memoised.get(name);
    if (known?.expires === expires) return known.text;
    if (memoised.size >= MEMOISED) memoised.delete(memoised.keys().next().value);
    const text = make();
    memoised.set(name, { expires, text });
    return text;
  };
  const one = (media, rendition) => {
    const expires = windowEnd(media._id, lifetimes[rendition.name]);
    return once(rendition.key, expires, () => {
      const url = `${baseUrl}/${rendition.key}`;
      return `${url}?Expires=${expires}${signed(policyOf(url, expires))}`;
    });
  };
  const together = (media, renditions) => {
    if (renditions.length === 1) return [() => one(media, renditions[0])];
    const query = () => {
      const expires = windowEnd(media._id, sharedLifetime);
      const id = media._id.toString();
      return once(id, expires, () => {
        const policy = policyOf(`${baseUrl}/${media.purpose.toLowerCase()}/processed/*/${id}/*`, expires);
        return `Policy=${cloudFront(Buffer.from(policy))}${signed(policy)}`;
      });
    };
    return renditions.map((each) => () => `${baseUrl}/${each.key}?${query()}`);
  };
  return { one, together };
}

function policyOf(resource, expires) {
  return `{"Statement":[{"Resource":"${resource}","Condition":{"DateLessThan":{"AWS:EpochTime":${expires}}}}]}`;
}

function cloudFront(bytes) {
  return bytes.toString("base64").replace(/[+=/]/g, (each) => ({ "+": "-", "=": "_", "/": "~" })[each]);
}

function windowEnd(id, [window, minimum]) {
  const phase = crc32(id.buffer) % window;
  const now = Math.floor(Date.now() / 1000);
  return (Math.floor((now - phase) / window) + 1) * window + phase + minimum;
}
