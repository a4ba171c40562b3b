// Files that are announced together, with one idempotency key: asking again plans nothing twice.

import { mutate, refuse } from '/demo/api.js';
import { inOurWords, typeOf } from '/demo/chosen.js';
import { COMPLETE_UPLOAD, CREATE_UPLOADS } from '/demo/operations.js';
import { sha256 } from '/demo/storage.js';

export const MAX_FILES = 20;

// Larger files are announced without reading them: the service says what it takes.
const LARGEST_READ = 100_000_000;

export class Batch {
  #key = crypto.randomUUID();
  #input;
  #plan;

  constructor(files, details) {
    Object.assign(this, { files, details });
  }

  // The upload of one file, with a target while it still awaits its bytes. Throws a Problem.
  async upload(index) {
    const { upload, userErrors } = (await this.#planned())[index];
    refuse(userErrors.map((error) => inOurWords(error, this.files[index])));
    return upload;
  }

  // The ids of all media that the plan names.
  async mediaIds() {
    return (await this.#planned()).flatMap(({ upload }) => (upload ? [upload.media.id] : []));
  }

  // Ask again before the next try: what was signed may have run out.
  renew() { this.#plan = undefined; }

  complete(index, upload) {
    return mutate(COMPLETE_UPLOAD, { idempotencyKey: `${this.#key}/${index}`, uploadId: upload.id });
  }

  #planned() {
    this.#plan ??= this.#create().catch((problem) => { this.#plan = undefined; throw problem; });
    return this.#plan;
  }

  async #create() {
    this.#input ??= await this.#describe();
    const { outcomes } = await mutate(CREATE_UPLOADS, this.#input);
    return outcomes;
  }

  async #describe() {
    const { visibility, caption, altText } = this.details;
    const files = [];
    for (const file of this.files) {
      files.push({
        contentType: typeOf(file),
        byteSize: file.size,
        sha256: file.size > LARGEST_READ ? null : await sha256(file),
        fileName: file.name.slice(0, 255),
        title: (caption || withoutExtension(file.name)).slice(0, 200),
        altText: altText || null,
      });
    }
    const client = { deviceClass: matchMedia('(pointer: coarse)').matches ? 'mobile' : 'desktop', captureMode: 'web' };
    return { idempotencyKey: this.#key, purpose: 'COMMUNITY', visibility, client, files };
  }
}

function withoutExtension(name) {
  return name.replace(/\.[A-Za-z0-9]{2,5}$/, '') || name;
}
