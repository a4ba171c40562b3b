import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MediaApi } from '../src/index.js';
import { uppy5Options, uppyOptions } from '../src/uppy.js';
import { FakeService, PART } from './fake-service.js';
import { file as photo } from './page.js';

/** As much of Uppy as the mapping sees; what its plugin sends is up to each test. */
class FakeUppy {
  #files = new Map();
  #listeners = [];
  #steps = { before: [], after: [] };
  told = [];

  constructor(options, service = new FakeService()) {
    this.service = service;
    const api = new MediaApi('/graphql', { getToken: () => service.token, fetch: service.fetch });
    this.options = options(this, api, { purpose: 'COMMUNITY' });
  }

  add(name, size, seed) {
    const data = photo(size, name, seed);
    this.#files.set(name, { id: name, name, type: data.type, size, data, meta: {}, progress: {} });
  }

  /** Announces; the files that the plugin would send then. */
  async announce() {
    for (const step of this.#steps.before) await step([...this.#files.keys()]);
    return this.getFiles().filter(({ error, progress }) => !error && !progress.uploadComplete).map(({ name }) => name);
  }

  async end() {
    for (const step of this.#steps.after) await step([...this.#files.keys()]);
  }

  async remove(id) {
    const removed = this.getFile(id);
    this.#files.delete(id);
    await this.emit('file-removed', removed);
  }

  getFile = (id) => this.#files.get(id);
  getFiles = () => [...this.#files.values()];
  setFileState(id, state) { this.#files.set(id, { ...this.#files.get(id), ...state }); }
  setFileMeta(id, meta) { this.setFileState(id, { meta: { ...this.getFile(id).meta, ...meta } }); }
  addPreProcessor(step) { this.#steps.before.push(step); }
  addPostProcessor(step) { this.#steps.after.push(step); }
  on(event, listener) { this.#listeners.push([event, listener]); }
  emit(event, file, details) {
    this.told.push([event, file.name]);
    if (event === 'upload-success') this.setFileState(file.id, { progress: { uploadComplete: true } });
    if (event === 'upload-error') this.setFileState(file.id, { error: details.message });
    return Promise.all(this.#listeners.filter(([name]) => name === event).map(([, listen]) => listen(file, details)));
  }
}

/** Some parts were sent by a page that is gone. */
async function leftBehind(service, parts) {
  const earlier = new FakeUppy(uppy5Options, service);
  earlier.add('large.jpg', 4 * PART, 1);
  await earlier.announce();
  const [session] = service.sessions.values();
  session.media.status = 'UPLOADING';
  for (let number = 1; number <= parts; number += 1) session.parts.set(number, { byteSize: PART, etag: `etag-${number}` });
  return session;
}

for (const [version, options] of [[5, uppy5Options], [6, uppyOptions]]) {
  test(`Uppy ${version}: of a file that was chosen twice, one is sent`, async () => {
    const uppy = new FakeUppy(options);
    uppy.add('one.jpg', 1_000, 1);
    uppy.add('two.jpg', 1_000, 1);
    assert.deepEqual(await uppy.announce(), ['one.jpg']);
    uppy.add('three.jpg', 1_000, 1);
    assert.deepEqual(await uppy.announce(), ['one.jpg']);
    const [one, two, three] = uppy.getFiles();
    assert.deepEqual([two.meta, three.meta], Array(2).fill({ mediaId: one.meta.mediaId, isDuplicate: true }));
    assert.equal(uppy.service.sessions.size, 1);
  });

  test(`Uppy ${version}: removing the one that was to be sent tells the other, which then sends`, async () => {
    const uppy = new FakeUppy(options);
    uppy.add('one.jpg', 1_000, 1);
    uppy.add('two.jpg', 1_000, 1);
    await uppy.announce();
    await uppy.remove('one.jpg');
    assert.match(uppy.getFile('two.jpg').error, /Try again/);
    uppy.setFileState('two.jpg', { error: null });
    assert.deepEqual(await uppy.announce(), ['two.jpg']);
    assert.deepEqual([...uppy.service.sessions.values()].map(({ media }) => media.status), ['EXPIRED', 'INITIATED']);
    assert.equal(uppy.getFile('two.jpg').meta.isDuplicate, false);
  });

  test(`Uppy ${version}: removing the one that was not to be sent leaves the other alone`, async () => {
    const uppy = new FakeUppy(options);
    uppy.add('one.jpg', 1_000, 1);
    uppy.add('two.jpg', 1_000, 1);
    await uppy.announce();
    await uppy.remove('two.jpg');
    assert.deepEqual(uppy.service.named('AbortUpload'), []);
  });

  test(`Uppy ${version}: a file that is removed and chosen again at once gets an upload of its own`, async () => {
    const uppy = new FakeUppy(options);
    uppy.add('one.jpg', 4 * PART, 1);
    await uppy.announce();
    // The abort is on its way for as long as whoever does not wait for it needs to announce the file again.
    uppy.service.onCall = async (operation) => {
      for (let turn = 0; operation === 'AbortUpload' && uppy.service.named('CreateUploads').length === 1 && turn < 10_000; turn += 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const removing = uppy.remove('one.jpg');
    uppy.add('one.jpg', 4 * PART, 1);
    assert.deepEqual(await uppy.announce(), ['one.jpg']);
    await removing;
    assert.deepEqual([...uppy.service.sessions.values()].map(({ media }) => media.status), ['EXPIRED', 'INITIATED']);
    assert.equal(uppy.getFile('one.jpg').mediaUpload.id, 'upload-2');
  });

  test(`Uppy ${version}: what has arrived already is completed, and nothing sent`, async () => {
    const service = new FakeService();
    const session = await leftBehind(service, 4);
    session.isAssembled = true;
    const uppy = new FakeUppy(options, service);
    uppy.add('large.jpg', 4 * PART, 1);
    assert.deepEqual(await uppy.announce(), []);
    await uppy.end();
    assert.equal(session.media.status, 'UPLOADED');
    assert.ok(uppy.getFile('large.jpg').progress.uploadComplete);
  });

  test(`Uppy ${version}: storage put the parts together, but its answer was lost`, async () => {
    const service = new FakeService();
    const uppy = new FakeUppy(options, service);
    uppy.add('large.jpg', 4 * PART, 1);
    await uppy.announce();
    const [session] = service.sessions.values();
    session.isAssembled = true;
    uppy.emit('upload-error', uppy.getFile('large.jpg'), Object.assign(new Error('NoSuchUpload'), { status: 404 }));
    await uppy.end();
    assert.equal(session.media.status, 'UPLOADED');
    assert.equal(uppy.getFile('large.jpg').error, null);
  });

  test(`Uppy ${version}: a session that ran out is replaced at the next try`, async () => {
    const uppy = new FakeUppy(options);
    uppy.add('one.jpg', 1_000, 1);
    await uppy.announce();
    for (const session of uppy.service.sessions.values()) session.media.status = 'EXPIRED';
    uppy.emit('upload-error', uppy.getFile('one.jpg'), Object.assign(new Error('over'), { code: 'UPLOAD_EXPIRED' }));
    uppy.setFileState('one.jpg', { error: null });
    assert.deepEqual(await uppy.announce(), ['one.jpg']);
    assert.equal(uppy.service.sessions.size, 2);
  });
}

test('Uppy 5 goes on with the parts of an earlier page', async () => {
  const service = new FakeService();
  const session = await leftBehind(service, 2);
  const uppy = new FakeUppy(uppy5Options, service);
  uppy.add('large.jpg', 4 * PART, 1);
  assert.deepEqual(await uppy.announce(), ['large.jpg']);
  assert.deepEqual(uppy.getFile('large.jpg').s3Multipart, { uploadId: session.id, key: `community/raw/${session.id}.jpg` });
  const parts = await uppy.options.listParts(uppy.getFile('large.jpg'), { uploadId: session.id });
  assert.deepEqual(parts.map(({ PartNumber }) => PartNumber), [1, 2]);
});

test('Uppy 6 begins anew at the next try where another page was faster to begin', async () => {
  const uppy = new FakeUppy(uppyOptions);
  uppy.add('large.jpg', 4 * PART, 1);
  await uppy.announce();
  const [session] = uppy.service.sessions.values();
  session.media.status = 'UPLOADING';
  uppy.emit('upload-error', uppy.getFile('large.jpg'), Object.assign(new Error('It has begun.'), { code: 'STATE_CONFLICT' }));
  await uppy.end();
  assert.equal(uppy.getFile('large.jpg').error, 'It has begun.');
  uppy.setFileState('large.jpg', { error: null });
  assert.deepEqual(await uppy.announce(), ['large.jpg']);
  assert.equal(session.media.status, 'EXPIRED');
  assert.equal(uppy.getFile('large.jpg').mediaUpload.id, 'upload-2');
});

test('Uppy 6 cannot, and begins anew: the earlier upload is ended, not left behind', async () => {
  const service = new FakeService();
  const session = await leftBehind(service, 2);
  const uppy = new FakeUppy(uppyOptions, service);
  uppy.add('large.jpg', 4 * PART, 1);
  uppy.add('again.jpg', 4 * PART, 1);
  assert.deepEqual(await uppy.announce(), ['large.jpg']);
  assert.equal(session.media.status, 'EXPIRED');
  assert.notEqual(uppy.getFile('large.jpg').mediaUpload.id, session.id);
  assert.equal(uppy.getFile('again.jpg').meta.mediaId, uppy.getFile('large.jpg').meta.mediaId);
});
