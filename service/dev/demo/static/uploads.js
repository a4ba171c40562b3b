// What people upload: each file sent by the client, then followed until it is ready or has failed.

import { getToken, Problem } from '/demo/api.js';
import { problemOf } from '/demo/chosen.js';
import { UploadClient } from '/demo/client/index.js';
import { Slots } from '/demo/client/slots.js';
import { FOLLOW } from '/demo/operations.js';
import { UploadRow } from '/demo/upload-row.js';

// The service lets one socket follow fifty.
const FOLLOWED_AT_ONCE = 40;
// A duplicate may be new: made of bytes that storage had, of a photo that was deleted a moment ago for instance.
const COMES = new Set(['sent', 'duplicate']);
const FOLLOWED = new Set(['sending', ...COMES]);
const FAILED = new Set(['FAILED', 'QUARANTINED']);
// While a file is being sent, its session may run out and be replaced.
const GONE = new Set(['EXPIRED', 'DELETED']);
const LOST_TRACK = 'The live status was lost; the photo may still become ready. Reload the page to see.';
const DEVICE = { deviceClass: matchMedia('(pointer: coarse)').matches ? 'mobile' : 'desktop', captureMode: 'web' };

export class Uploads {
  #client;
  #isKnown;
  // Of files that were chosen before the page knew for whom.
  #rows = new Map();
  #following = new Slots(() => FOLLOWED_AT_ONCE);

  constructor({ socket, hint, onReady, addRow }) {
    Object.assign(this, { socket, hint, onReady, addRow });
    this.#client = new Promise((resolve) => { this.#isKnown = resolve; });
  }

  // Goes on with what this viewer had under way when the page was closed. Once is enough.
  signedIn(owner) {
    const client = new UploadClient({ url: '/graphql', owner, getToken });
    client.addEventListener('upload', ({ upload }) => this.#accompany(upload));
    this.#isKnown(client);
    return client.resume();
  }

  async start(files, { visibility, caption, altText }) {
    const problems = await Promise.all(files.map(problemOf));
    problems.forEach((problem, index) => problem && this.#refuse(files[index], problem));
    const describe = (file) => ({
      title: (caption || withoutExtension(file.name)).slice(0, 200),
      altText: altText || null,
    });
    const sound = files.filter((_, index) => !problems[index]);
    sound.forEach((file) => this.#await(file));
    const client = await this.#client;
    await client.add(sound, { purpose: 'COMMUNITY', visibility, client: DEVICE, describe });
  }

  // One bad file does not hold up the others.
  #refuse(file, problem) {
    const row = new UploadRow(file);
    this.addRow(row);
    row.fail(problem);
  }

  #await(file) {
    const row = new UploadRow(file);
    this.addRow(row);
    row.show({ state: 'waiting' });
    this.#rows.set(file, row);
  }

  #accompany(upload) {
    const row = this.#rows.get(upload.file) ?? new UploadRow(upload.file ?? upload);
    if (!this.#rows.delete(upload.file)) this.addRow(row);
    row.controls = upload;
    let follows = false;
    const show = () => {
      row.show(upload);
      if (upload.state === 'failed') row.fail(upload.problem, upload.isOver ? undefined : () => upload.retry());
      if (!upload.media || follows || !FOLLOWED.has(upload.state)) return;
      follows = true;
      this.#follow(upload, row);
    };
    upload.addEventListener('change', show);
    show();
  }

  #follow(upload, row) {
    const { id } = upload.media;
    let after = null;
    const lose = () => row.fail(new Problem(LOST_TRACK));
    return this.#following.run(() => new Promise((resolve) => {
      const end = this.socket.subscribe(FOLLOW, () => ({ ids: [id], after, hint: this.hint }), {
        next: ({ data, errors }) => {
          if (errors) return lose();
          after = data.mediaStatus.cursor;
          return this.#show(row, data.mediaStatus, upload);
        },
        error: () => { lose(); resolve(); },
        complete: resolve,
      });
      // A session that ran out has a successor, with other media.
      upload.finished.then(() => {
        if (upload.media?.id === id && COMES.has(upload.state)) return;
        end();
        resolve();
      });
    }), new AbortController().signal);
  }

  #show(row, { status, progress, media }, upload) {
    if (status === 'READY') {
      row.ready();
      if (media.status === 'READY') this.onReady(media);
    } else if (!FAILED.has(status) && !GONE.has(status)) {
      row.processing(status, progress);
    } else if (FAILED.has(status) || COMES.has(upload.state)) {
      row.fail(new Problem(media.failure?.message ?? 'This photo was removed.'));
    }
  }
}

function withoutExtension(name) {
  return name.replace(/\.[A-Za-z0-9]{2,5}$/, '') || name;
}
