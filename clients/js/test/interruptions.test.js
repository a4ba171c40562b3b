import assert from 'node:assert/strict';
import { test } from 'node:test';

import { broken, FakeService, PART } from './fake-service.js';
import { file, holdAfter, Page, until } from './page.js';

test('a reload goes on from what storage has confirmed, and sends no confirmed part again', async () => {
  const page = new Page();
  holdAfter(page.service, 4);
  await page.add([file(9 * PART)]);
  await until(() => page.service.puts.length === 4);
  await page.settled();
  page.service.onPut = async () => {};
  const next = await page.reloaded();
  assert.equal(next.uploads.length, 1);
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(page.service.named('CreateUploads').length, 1);
  assert.deepEqual(await next.kept(), []);
});

test('the answer to createUploads is lost with the page: the next one asks with the same key and words', async () => {
  const page = new Page();
  page.service.onCall = (operation) => (operation === 'CreateUploads' ? new Promise(() => {}) : Promise.resolve());
  await page.add([file(1_000, 'one.jpg', 1), file(1_000, 'two.jpg', 2)]);
  await until(() => page.service.named('CreateUploads').length === 1);
  page.service.onCall = async () => {};
  const next = await page.reloaded();
  await Promise.all(next.uploads.map(({ finished }) => finished));
  const [first, second] = page.service.named('CreateUploads');
  assert.deepEqual(second, first);
  assert.equal(page.service.sessions.size, 2);
  assert.deepEqual(next.uploads.map(({ state }) => state), ['sent', 'sent']);
});

test('files that were not announced yet are announced after the reload', async () => {
  const page = new Page();
  page.service.onCall = () => new Promise(() => {});
  await page.add([file(1_000, 'early.jpg')]);
  page.service.onCall = async () => {};
  const next = await page.reloaded();
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  assert.equal(next.uploads[0].name, 'early.jpg');
});

test('offline it waits, uses up no tries, and goes on when the network is back', async () => {
  const service = new FakeService();
  const page = new Page({ service, send: async (target, ...request) => {
    if (JSON.parse(target.url).number === 3 && !service.wasOffline) {
      service.wasOffline = true;
      page.network.lose();
    }
    if (page.network.isOffline()) throw broken();
    return service.send(target, ...request);
  } });
  const [upload] = await page.add([file(6 * PART)]);
  await until(() => service.wasOffline);
  await page.settled();
  const calls = service.calls.length;
  await page.settled();
  assert.equal(service.calls.length, calls, 'nothing is asked while offline');
  assert.equal(upload.state, 'sending');
  page.network.find();
  await upload.finished;
  assert.equal(upload.state, 'sent');
  assert.deepEqual(page.slept, []);
  assert.deepEqual(service.numbersStored(), [1, 2, 3, 4, 5, 6]);
});

test('paused it sends nothing, survives a reload as paused, and goes on where it was', async () => {
  const page = new Page();
  holdAfter(page.service, 2);
  const [upload] = await page.add([file(6 * PART)]);
  await until(() => page.service.puts.length === 2);
  await upload.pause();
  assert.equal(upload.state, 'paused');
  page.service.onPut = async () => {};
  await page.settled();
  assert.equal(page.service.puts.length, 2);
  const next = await page.reloaded();
  assert.deepEqual(next.uploads.map(({ state }) => state), ['paused']);
  assert.equal(page.service.puts.length, 2);
  await next.uploads[0].resume();
  await next.uploads[0].finished;
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5, 6]);
});

test('a paused upload leaves its place to others', async () => {
  const page = new Page();
  const release = holdAfter(page.service, 0);
  const uploads = await page.add([1, 2, 3, 4].map((seed) => file(1_000, `${seed}.jpg`, seed)));
  await until(() => uploads.filter(({ state }) => state === 'sending').length === 3);
  await uploads[0].pause();
  await until(() => uploads[3].state === 'sending');
  release();
  await Promise.all(uploads.slice(1).map(({ finished }) => finished));
  await uploads[0].resume();
  await uploads[0].finished;
  assert.ok(uploads.every(({ state }) => state === 'sent'));
});

test('cancelled it is aborted at the service and forgotten here', async () => {
  const page = new Page();
  holdAfter(page.service, 2);
  const [upload] = await page.add([file(6 * PART)]);
  await until(() => page.service.puts.length === 2);
  await upload.cancel();
  assert.equal(upload.state, 'cancelled');
  await upload.finished;
  const [session] = page.service.sessions.values();
  assert.equal(session.media.status, 'EXPIRED');
  assert.equal(session.parts.size, 0);
  assert.deepEqual(await page.kept(), []);
  assert.equal(page.service.puts.length, 2);
});

test('cancelled before it was announced, it is never announced', async () => {
  const page = new Page();
  const controller = new AbortController();
  const release = holdAfter(page.service, 0);
  await page.add([1, 2, 3].map((seed) => file(1_000, `${seed}.jpg`, seed)));
  const [fourth] = await page.add([file(1_000, 'four.jpg', 4)], { signal: controller.signal });
  controller.abort();
  await fourth.finished;
  release();
  await Promise.all(page.uploads.map(({ finished }) => finished));
  assert.equal(fourth.state, 'cancelled');
  assert.ok(page.service.named('CreateUploads').every(({ files }) => files.every(({ fileName }) => fileName !== 'four.jpg')));
  assert.deepEqual(page.service.named('AbortUpload'), []);
});

test('a cancel whose answer was lost with the page is repeated by the next one', async () => {
  const page = new Page();
  holdAfter(page.service, 1);
  const [upload] = await page.add([file(4 * PART)]);
  await until(() => page.service.puts.length === 1);
  page.service.onCall = (operation) => (operation === 'AbortUpload' ? new Promise(() => {}) : Promise.resolve());
  upload.cancel();
  await until(() => page.service.named('AbortUpload').length === 1);
  page.service.onCall = async () => {};
  const next = await page.reloaded();
  await until(async () => (await next.kept()).length === 0);
  assert.deepEqual(next.uploads, []);
  const [first, second] = page.service.named('AbortUpload');
  assert.deepEqual(second, first);
});

test('a session that ended while the device slept is begun anew', async () => {
  const page = new Page();
  holdAfter(page.service, 2);
  await page.add([file(4 * PART)]);
  await until(() => page.service.puts.length === 2);
  page.service.onPut = async () => {};
  for (const session of page.service.sessions.values()) session.media.status = 'EXPIRED';
  const next = await page.reloaded();
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  const keys = page.service.named('CreateUploads').map(({ idempotencyKey }) => idempotencyKey);
  assert.equal(new Set(keys).size, 2);
});

test('where files are not kept, it goes on once the same one is chosen again', async () => {
  const page = new Page({ keepsFiles: false });
  holdAfter(page.service, 3);
  const photo = file(5 * PART, 'kept-elsewhere.jpg');
  await page.add([photo]);
  await until(() => page.service.puts.length === 3);
  page.service.onPut = async () => {};
  const next = await page.reloaded({ keepsFiles: false });
  const [upload] = next.uploads;
  await until(() => upload.state === 'failed');
  assert.equal(upload.problem.code, 'FILE_NEEDED');
  assert.throws(() => upload.provide(file(10, 'another.jpg')), { code: 'OTHER_FILE' });
  upload.provide(photo);
  await upload.finished;
  assert.equal(upload.state, 'sent');
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5]);
});

test('a browser without room for the file remembers the upload without it', async () => {
  const service = new FakeService();
  const page = new Page({ service });
  const original = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function put(value, ...key) {
    if (value instanceof Blob) throw new DOMException('full', 'QuotaExceededError');
    return original.call(this, value, ...key);
  };
  try {
    holdAfter(service, 0);
    await page.add([file(1_000, 'large.jpg')]);
    assert.deepEqual((await page.kept()).map(({ name, file: kept }) => [name, kept]), [['large.jpg', null]]);
  } finally {
    IDBObjectStore.prototype.put = original;
  }
});

test('a file is written once, however often its upload changes', async () => {
  const page = new Page();
  const size = 4 * PART - 1;
  let written = 0;
  const original = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function put(value, ...key) {
    // Not those of the page of an earlier test.
    written += value instanceof Blob && value.size === size ? 1 : 0;
    return original.call(this, value, ...key);
  };
  try {
    holdAfter(page.service, 1);
    const [upload] = await page.add([file(size)]);
    await until(() => page.service.puts.length === 1);
    await upload.pause();
    page.service.onPut = async () => {};
    const next = await page.reloaded();
    await next.uploads[0].resume();
    await next.uploads[0].finished;
    assert.equal(next.uploads[0].state, 'sent');
  } finally {
    IDBObjectStore.prototype.put = original;
  }
  assert.equal(written, 1);
});
