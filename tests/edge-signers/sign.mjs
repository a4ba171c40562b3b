// Reads a JSON array of inputs for @aws-sdk/cloudfront-signer on stdin, each with a "kind": "url" or "cookies".
// Writes what the signer makes of each, in order. Dates are Unix seconds.
import { readFileSync } from "node:fs";
import { getSignedCookies, getSignedUrl } from "@aws-sdk/cloudfront-signer";

const sign = { url: getSignedUrl, cookies: getSignedCookies };
const date = (seconds) => seconds && new Date(seconds * 1000);

const inputs = JSON.parse(readFileSync(0, "utf8"));
const outputs = inputs.map(({ kind, dateLessThan, dateGreaterThan, ...rest }) =>
  sign[kind]({ ...rest, dateLessThan: date(dateLessThan), dateGreaterThan: date(dateGreaterThan) }),
);
process.stdout.write(JSON.stringify(outputs));
