// Usage: node run.mjs http://127.0.0.1:8080/graphql
// Prints what each audit found and the counts; exits 1 unless every audit passes.
import { auditServer } from "graphql-http";

const [url] = process.argv.slice(2);
if (!url) {
  console.error("usage: node run.mjs URL");
  process.exit(2);
}

const results = await auditServer({ url });
const failed = results.filter((result) => result.status !== "ok");
for (const { id, name, status, reason } of failed) {
  console.error(`${status.toUpperCase()} ${id} ${name}: ${reason}`);
}
console.log(JSON.stringify({ total: results.length, passed: results.length - failed.length, failed: failed.length }));
process.exit(results.length > 0 && failed.length === 0 ? 0 : 1);
