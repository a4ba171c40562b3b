// The service and its storage as a page sees them: GraphQL by fetch, bytes by `send`. It counts, refuses and breaks.

import { createHash } from 'node:crypto';

import { Problem } from '../src/problem.js';
import { unlessAborted } from '../src/retrying.js';

export const PART = 1_000;
const THRESHOLD = 2_000;

export const POLICY = {
  maxBytes: 50_000,
  maxDimension: 1440,
  jpegQuality: 80,
  multipartThreshold: THRESHOLD,
  maxConcurrentUploads: 3,
  maxConcurrentParts: 3,
  retryDelaysMs: [1, 2, 4, 8, 16],
};

export class FakeService {
  /** Every call as `[operation, input]`, in order. */
  calls = [];
  /** What storage was sent: `{ id, number, bytes, status }`; `number` 0 stands for a whole file. */
  puts = [];
  sessions = new Map();
  /** SHA-256 of what the owner has. */
  owned = new Map();
  token = 'first';
  /** Whose token that is. */
  viewerId = 'ada';
  /** Runs before each call or PUT: may wait or throw. */
  onCall = async () => {};
  onPut = async () => {};
  /** Gives a status instead of taking the bytes. */
  statusOf = () => undefined;
  mostAtOnce = { files: 0, parts: 0 };
  #plans = new Map();
  #underWay = [];

  fetch = async (_url, { headers, body, signal }) => {
    signal?.throwIfAborted();
    const { query, variables } = JSON.parse(body);
    const operation = /(?:query|mutation) (\w+)/.exec(query)[1];
    const input = variables.input ?? variables;
    this.calls.push([operation, input]);
    const { Authorization } = headers;
    if (Authorization && Authorization !== `Bearer ${this.token}`) return answer(401, { errors: [{ message: 'Who are you?' }] });
    await this.onCall(operation, input);
    const viewer = Authorization ? { id: this.viewerId } : null;
    const asksWho = operation === 'Upload' ? { viewer } : {};
    return answer(200, { data: { ...asksWho, [lowerFirst(operation)]: this.#answered(operation, input, viewer) } });
  };

  send = async (target, body, { signal, onProgress }) => {
    signal.throwIfAborted();
    const { id, number } = JSON.parse(target.url);
    const put = { id, number, bytes: body.size, sha256: await hexDigest(body) };
    this.#underWay.push(put);
    this.#count();
    try {
      await unlessAborted(Promise.all([this.onPut(put), someTurns()]), signal);
      onProgress(body.size);
      put.status = this.statusOf(put) ?? this.#store(put, target);
    } finally {
      this.#underWay.splice(this.#underWay.indexOf(put), 1);
    }
    this.puts.push(put);
    return { status: put.status, etag: put.status === 200 ? `etag-${number}` : null };
  };

  numbersStored() {
    return this.puts.filter(({ status }) => status === 200).map(({ number }) => number).sort((a, b) => a - b);
  }

  named(operation) {
    return this.calls.filter(([name]) => name === operation).map(([, input]) => input);
  }

  Viewer() {
    return { id: this.viewerId };
  }

  CreateUploads(input) {
    const known = this.#plans.get(input.idempotencyKey);
    if (known && known.input !== JSON.stringify(input)) throw new Error('the key was used with other input');
    const outcomes = known?.outcomes ?? this.#planAll(input.files);
    this.#plans.set(input.idempotencyKey, { input: JSON.stringify(input), outcomes });
    return { outcomes: outcomes.map((outcome) => this.#fresh(outcome)), userErrors: [] };
  }

  Upload({ id }) {
    return this.sessions.get(id)?.owner === this.viewerId ? this.#shown(id) : null;
  }

  SignUploadParts({ uploadId, partNumbers, partChecksums }) {
    if (this.sessions.get(uploadId).isAssembled) return { parts: [], userErrors: [refusal('STATE_CONFLICT', false)] };
    const isAcceptable = !partChecksums.length || !this.sessions.get(uploadId).isWithoutChecksums;
    if (!isAcceptable) return { parts: [], userErrors: [refusal('INVALID_INPUT', false)] };
    const sums = new Map(partChecksums.map(({ number, sha256 }) => [number, sha256]));
    const parts = partNumbers.map((number) => ({ number, byteSize: PART, target: this.#target(uploadId, number, sums.get(number)) }));
    return { parts, userErrors: [] };
  }

  CompleteUpload({ uploadId, parts }) {
    const session = this.sessions.get(uploadId);
    const sent = session.isAssembled ? parts === undefined : session.method === 'SINGLE' ? session.parts.size === 1 : parts?.length === session.partCount
      && parts.every(({ number, etag }) => session.parts.get(number)?.etag === etag);
    if (!sent) return { media: null, userErrors: [refusal('UPLOAD_INCOMPLETE', true)] };
    session.media.status = 'UPLOADED';
    return { media: session.media, userErrors: [] };
  }

  AbortUpload({ uploadId }) {
    const session = this.sessions.get(uploadId);
    session.media.status = 'EXPIRED';
    session.parts.clear();
    return { media: session.media, userErrors: [] };
  }

  UploadPolicy() {
    return POLICY;
  }

  #answered(operation, input, viewer) {
    if (viewer || operation === 'UploadPolicy') return this[operation](input);
    return /^(Upload|Viewer)$/.test(operation) ? null : { userErrors: [refusal('NOT_PERMITTED', false)] };
  }

  #planAll(files) {
    const first = new Map();
    return files.map((file) => {
      const twin = first.get(file.sha256);
      const outcome = twin ? { upload: null, duplicate: this.sessions.get(twin).media, userErrors: [] } : this.#plan(file);
      if (outcome.upload) first.set(file.sha256, outcome.upload.id);
      return outcome;
    });
  }

  #plan(file) {
    if (file.byteSize > POLICY.maxBytes) return { upload: null, duplicate: null, userErrors: [refusal('TOO_LARGE', false)] };
    if (this.owned.has(file.sha256)) return { upload: null, duplicate: { id: this.owned.get(file.sha256), status: 'READY' }, userErrors: [] };
    const open = [...this.sessions.values()].find(({ file: other, media }) => other.sha256 === file.sha256 && /INITIATED|UPLOADING/.test(media.status));
    if (open) return { upload: { id: open.id }, duplicate: null, userErrors: [] };
    const id = `upload-${this.sessions.size + 1}`;
    const method = file.byteSize > THRESHOLD ? 'MULTIPART' : 'SINGLE';
    const partCount = method === 'MULTIPART' ? Math.ceil(file.byteSize / PART) : null;
    const media = { id: `media-${id}`, status: 'INITIATED' };
    this.sessions.set(id, { id, owner: this.viewerId, media, file, method, byteSize: file.byteSize, partCount, parts: new Map() });
    return { upload: { id }, duplicate: null, userErrors: [] };
  }

  #fresh(outcome) {
    return outcome.upload ? { ...outcome, upload: this.#shown(outcome.upload.id) } : outcome;
  }

  #shown(id) {
    const { media, file, method, byteSize, partCount, parts, isAssembled } = this.sessions.get(id);
    const awaits = method === 'SINGLE' && parts.size === 0 && media.status === 'INITIATED';
    const confirmed = [...parts].map(([number, { byteSize: size, etag }]) => ({ number, byteSize: size, etag }));
    return {
      id, media: { ...media }, method, byteSize, partCount,
      partSize: partCount ? PART : null,
      objectKey: `community/raw/${id}.jpg`,
      target: awaits ? this.#target(id, 0, file.sha256) : null,
      parts: method === 'MULTIPART' && !isAssembled ? confirmed : [],
      bytesConfirmed: isAssembled ? byteSize : confirmed.reduce((sum, part) => sum + part.byteSize, 0),
    };
  }

  #target(id, number, sha256) {
    return { method: 'PUT', url: JSON.stringify({ id, number }), headers: [{ name: 'x-amz-checksum-sha256', value: sha256 }] };
  }

  #store({ id, number, bytes, sha256 }, target) {
    const { parts, media, isAssembled } = this.sessions.get(id);
    if (media.status !== 'INITIATED' || isAssembled) return number ? 404 : 403;
    if (number === 0 && parts.has(0)) return 412;
    if ((target.headers[0].value ?? sha256) !== sha256) return 400;
    parts.set(number, { byteSize: bytes, etag: `etag-${number}` });
    return 200;
  }

  #count() {
    const files = new Set(this.#underWay.map(({ id }) => id)).size;
    this.mostAtOnce.files = Math.max(this.mostAtOnce.files, files);
    this.mostAtOnce.parts = Math.max(this.mostAtOnce.parts, this.#underWay.length);
  }
}

export function broken() {
  return new Problem('The connection broke.', { code: 'UNREACHABLE', retryable: true });
}

export async function hexDigest(blob) {
  return createHash('sha256').update(Buffer.from(await blob.arrayBuffer())).digest('hex');
}

function answer(status, body) {
  return { status, json: async () => structuredClone(body) };
}

function refusal(code, retryable) {
  return { code, message: `Refused: ${code}`, retryable };
}

function lowerFirst(name) {
  return name[0].toLowerCase() + name.slice(1);
}

// Long enough for others to begin.
async function someTurns() {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
