// The journey of each chosen file: announced, sent, completed, followed until it is ready or has failed.

import { Problem } from '/demo/api.js';
import { Batch, MAX_FILES } from '/demo/batch.js';
import { problemOf } from '/demo/chosen.js';
import { FOLLOW } from '/demo/operations.js';
import { withRetries } from '/demo/retry.js';
import { put } from '/demo/storage.js';
import { UploadRow } from '/demo/upload-row.js';

const AT_ONCE = 3;
const ENDED_BADLY = new Set(['FAILED', 'QUARANTINED', 'EXPIRED', 'DELETED']);
const LOST_TRACK = 'The live status was lost; the photo may still become ready. Reload the page to see.';

export class Uploads {
  #sending = 0;
  #waiting = [];

  constructor({ socket, hint, onReady, addRow }) {
    Object.assign(this, { socket, hint, onReady, addRow });
  }

  async start(files, details) {
    const chosen = files.map((file) => ({ file, row: new UploadRow(file) }));
    for (const { row } of chosen) {
      this.addRow(row);
      row.waiting();
    }
    const sound = await this.#sound(chosen);
    for (let first = 0; first < sound.length; first += MAX_FILES) {
      const some = sound.slice(first, first + MAX_FILES);
      const batch = new Batch(some.map(({ file }) => file), details);
      const rows = some.map(({ row }) => row);
      const journey = { batch, rows, byMedia: new Map(), follow: undefined };
      rows.forEach((_, index) => this.#run(journey, index));
    }
  }

  // One bad file does not hold up the others.
  async #sound(chosen) {
    const problems = await Promise.all(chosen.map(({ file }) => problemOf(file)));
    problems.forEach((problem, index) => problem && chosen[index].row.fail(problem));
    return chosen.filter((_, index) => !problems[index]);
  }

  async #run(journey, index) {
    const row = journey.rows[index];
    row.waiting();
    await this.#turn();
    try {
      const upload = await withRetries(() => this.#send(journey, index));
      row.sent();
      await withRetries(() => journey.batch.complete(index, upload));
    } catch (problem) {
      row.fail(problem, () => this.#run(journey, index));
    } finally {
      this.#sending -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #send(journey, index) {
    const { batch, rows } = journey;
    const upload = await batch.upload(index);
    journey.byMedia.set(upload.media.id, rows[index]);
    journey.follow ??= this.#follow(journey, await batch.mediaIds());
    if (!upload.target) return upload;
    try {
      await put(batch.files[index], upload.target, (share) => rows[index].sending(share));
    } catch (problem) {
      batch.renew();
      throw problem;
    }
    return upload;
  }

  // Few files at a time, so that the first is there soon.
  async #turn() {
    if (this.#sending >= AT_ONCE) await new Promise((resolve) => this.#waiting.push(resolve));
    this.#sending += 1;
  }

  #follow(journey, ids) {
    let after = null;
    const lose = () => journey.byMedia.forEach((row) => row.fail(new Problem(LOST_TRACK)));
    return this.socket.subscribe(FOLLOW, () => ({ ids, after, hint: this.hint }), {
      next: ({ data, errors }) => {
        if (errors) return lose();
        after = data.mediaStatus.cursor;
        return this.#show(journey.byMedia.get(data.mediaStatus.media.id), data.mediaStatus);
      },
      error: lose,
      complete: () => {},
    });
  }

  #show(row, { status, progress, media }) {
    if (status === 'READY') {
      row?.ready();
      if (media.status === 'READY') this.onReady(media);
    } else if (ENDED_BADLY.has(status)) {
      row?.fail(new Problem(media.failure?.message ?? 'This photo was removed.'));
    } else {
      row?.processing(status, progress);
    }
  }
}
