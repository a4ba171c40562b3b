import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeService, PART } from './fake-service.js';
import { file, holdAfter, Page, until } from './page.js';

const REFUSED = { code: 'NOT_PERMITTED', message: 'Not you.', retryable: false };

/** What is there before a sign-in page lets anybody through. */
function portal(status = 200) {
  return { status, json: async () => { throw new SyntaxError('Unexpected token <'); } };
}

/** The API put the parts together and died; storage has one object now. */
function assemble(service) {
  for (const session of service.sessions.values()) session.isAssembled = true;
}

for (const status of [200, 302, 403, 404, 511]) {
  test(`a network that answers ${status} with a page of its own is no answer: it is tried again`, async () => {
    const service = new FakeService();
    let tries = 0;
    const page = new Page({ service, fetch: async (...request) => (tries++ < 3 ? portal(status) : service.fetch(...request)) });
    const [upload] = await page.add([file(1_000)]);
    await upload.finished;
    assert.equal(upload.state, 'sent');
  });
}

test('behind a sign-in page for longer, uploads fail but are kept, and go on after a reload', async () => {
  const service = new FakeService();
  const page = new Page({ service, fetch: async () => portal() });
  const [upload] = await page.add([file(1_000)]);
  await until(() => upload.state === 'failed');
  assert.equal(upload.problem.code, 'UNREACHABLE');
  assert.equal(upload.isOver, false);
  const next = await page.reloaded();
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
});

test('requests are never sent on to where a network wants them', async () => {
  const service = new FakeService();
  const seen = new Set();
  const page = new Page({ service, fetch: async (url, options) => { seen.add(options.redirect); return service.fetch(url, options); } });
  const [upload] = await page.add([file(1_000)]);
  await upload.finished;
  assert.deepEqual([...seen], ['error']);
});

for (const [name, token] of [['a token that has run out', 'stale'], ['no token', null]]) {
  test(`${name} pauses every upload, and the next sign-in has them go on`, async () => {
    let current = token;
    const asked = [];
    const page = new Page({ getToken: (isAgain) => { asked.push(isAgain); return current; } });
    const uploads = await page.add([1, 2, 3].map((seed) => file(1_000, `${seed}.jpg`, seed)));
    await until(() => uploads.every(({ state }) => state === 'paused'));
    assert.ok(uploads.every(({ problem }) => problem.code === 'UNAUTHENTICATED'));
    assert.equal(asked.includes(true), token !== null);
    assert.equal((await page.kept()).length, 3);
    assert.deepEqual(page.service.puts, []);
    current = 'first';
    await page.client.resume();
    await Promise.all(uploads.map(({ finished }) => finished));
    assert.ok(uploads.every(({ state, problem }) => state === 'sent' && !problem));
    assert.equal(page.service.sessions.size, 3);
  });
}

test('a sign-in that fails with the network is tried again', async () => {
  let tries = 0;
  const page = new Page({ getToken: () => { if (tries++ < 3) throw new TypeError('Failed to fetch'); return 'first'; } });
  const [upload] = await page.add([file(1_000)]);
  await upload.finished;
  assert.equal(upload.state, 'sent');
});

test('half-way there, an ended sign-in pauses; after a reload with a good one it goes on where it was', async () => {
  const service = new FakeService();
  service.onPut = async ({ number }) => { if (number === 3) service.token = 'second'; };
  const page = new Page({ service, getToken: () => 'first' });
  const [upload] = await page.add([file(8 * PART)]);
  await until(() => upload.state === 'paused');
  assert.equal(upload.problem.code, 'UNAUTHENTICATED');
  const stored = service.numbersStored();
  assert.ok(stored.length >= 3);
  const next = await page.reloaded({ getToken: () => 'second' });
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  assert.deepEqual(service.numbersStored(), [1, 2, 3, 4, 5, 6, 7, 8]);
});

test('what the viewer may not do pauses, is kept, and is asked again on resume', async () => {
  const page = new Page();
  const original = page.service.CreateUploads.bind(page.service);
  page.service.CreateUploads = () => ({ outcomes: [], userErrors: [REFUSED] });
  const [upload] = await page.add([file(1_000)]);
  await until(() => upload.state === 'paused');
  assert.equal(upload.problem.message, 'Not you.');
  assert.equal((await page.kept()).length, 1);
  page.service.CreateUploads = original;
  await upload.resume();
  await upload.finished;
  assert.equal(upload.state, 'sent');
});

test('a paused upload without a sign-in can be cancelled', async () => {
  const page = new Page({ getToken: () => null });
  const [upload] = await page.add([file(1_000)]);
  await until(() => upload.state === 'paused');
  await upload.cancel();
  assert.equal(upload.state, 'cancelled');
  assert.deepEqual(await page.kept(), []);
});

test('somebody else who signs in on the same page sees and sends nothing of the first', async () => {
  const page = new Page();
  page.service.onPut = () => new Promise(() => {});
  await page.add([file(1_000, 'private.jpg')]);
  await until(() => page.service.named('CreateUploads').length === 1);
  await page.settled();
  page.gone = true;
  const other = new FakeService();
  other.viewerId = 'bob';
  const bobs = new Page({ service: other, database: page.database, owner: 'bob' });
  await bobs.client.resume();
  await bobs.settled();
  assert.deepEqual(bobs.uploads, []);
  assert.deepEqual(other.calls, []);
  assert.deepEqual((await page.kept()).map(({ name, owner }) => [name, owner]), [['private.jpg', 'ada']]);
  page.service.onPut = async () => {};
  const back = await page.reloaded();
  await back.uploads[0].finished;
  assert.equal(back.uploads[0].state, 'sent');
});

test("in a store that is shared, others' uploads are left alone", async () => {
  const page = new Page({ getToken: () => null });
  await page.add([file(1_000, 'private.jpg')]);
  await until(() => page.uploads[0].state === 'paused');
  const store = { all: () => page.kept(), get: async () => assert.fail(), put: async () => assert.fail(), remove: async () => assert.fail() };
  const other = new Page({ service: page.service, owner: 'bob', store });
  await other.client.resume();
  assert.deepEqual(other.uploads, []);
});

test('another sign-in behind the page neither announces files nor takes over a session', async () => {
  const page = new Page();
  const { service } = page;
  service.statusOf = ({ number }) => {
    if (number !== 2 || service.viewerId === 'bob' || service.puts.some(({ status }) => status === 503)) return undefined;
    service.viewerId = 'bob';
    return 503;
  };
  const [begun] = await page.add([file(5 * PART, 'begun.jpg')]);
  await until(() => begun.state === 'paused');
  assert.equal(begun.problem.code, 'OTHER_USER');
  const [fresh] = await page.add([file(1_000, 'fresh.jpg')]);
  await until(() => fresh.state === 'paused');
  assert.equal(fresh.problem.code, 'OTHER_USER');
  assert.equal(service.named('CreateUploads').length, 1);
  assert.equal((await page.kept()).length, 2);
  service.viewerId = 'ada';
  await page.client.resume();
  await Promise.all([begun.finished, fresh.finished]);
  assert.deepEqual([begun.state, fresh.state], ['sent', 'sent']);
  assert.deepEqual([...service.sessions.values()].map(({ owner }) => owner), ['ada', 'ada']);
});

test('a client without an owner is refused', () => {
  assert.throws(() => new Page({ owner: '' }), /owner/);
});

test('an upload that the service says it does not know is begun anew by its owner', async () => {
  const page = new Page();
  page.service.onPut = () => new Promise(() => {});
  await page.add([file(1_000)]);
  await until(async () => (await page.kept())[0]?.uploadId);
  page.service.sessions.clear();
  page.service.onPut = async () => {};
  const next = await page.reloaded();
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  assert.equal(page.service.sessions.size, 1);
});

test('parts that were put together while the page was away are only completed', async () => {
  const page = new Page();
  page.service.onCall = async (operation) => { if (operation === 'CompleteUpload') await new Promise(() => {}); };
  await page.add([file(5 * PART)]);
  await until(() => page.service.named('CompleteUpload').length === 1);
  assemble(page.service);
  page.service.onCall = async () => {};
  const signed = page.service.named('SignUploadParts').length;
  const next = await page.reloaded();
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5]);
  assert.equal(page.service.named('SignUploadParts').length, signed);
  assert.deepEqual(page.service.named('CompleteUpload').at(-1).parts, undefined);
  assert.deepEqual(page.service.named('AbortUpload'), []);
});

for (const [when, plan] of [
  ['before they are signed', (service) => { service.onCall = async (operation) => operation === 'SignUploadParts' && assemble(service); }],
  ['while they are sent', (service) => { service.onPut = async ({ number }) => number === 8 && assemble(service); }],
]) {
  test(`parts that are put together ${when} are only completed`, async () => {
    const page = new Page();
    const { service } = page;
    plan(service);
    const [upload] = await page.add([file(12 * PART)]);
    await upload.finished;
    assert.equal(upload.state, 'sent');
    assert.equal(service.named('CreateUploads').length, 1);
    assert.deepEqual(service.named('AbortUpload'), []);
    assert.equal(service.named('CompleteUpload').at(-1).parts, undefined);
  });
}

test('a whole file that arrived while the page was away is completed, not sent, even without the file', async () => {
  const page = new Page({ keepsFiles: false });
  page.service.onCall = async (operation) => { if (operation === 'CompleteUpload') await new Promise(() => {}); };
  await page.add([file(1_500)]);
  await until(() => page.service.named('CompleteUpload').length === 1);
  page.service.onCall = async () => {};
  // Services may still say where it would go.
  const shown = page.service.Upload.bind(page.service);
  page.service.Upload = (input) => ({ ...shown(input), target: { method: 'PUT', url: '{}', headers: [] } });
  const next = await page.reloaded({ keepsFiles: false });
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  assert.equal(page.service.puts.length, 1);
});

test('storage that waited too long for bytes, or a proxy before it, is asked again', async () => {
  const service = new FakeService();
  const answers = [{ status: 400, etag: null, code: 'RequestTimeout' }, { status: 407, etag: null }, { status: 511, etag: null }];
  const page = new Page({ service, send: async (...request) => answers.shift() ?? service.send(...request) });
  const [upload] = await page.add([file(1_000)]);
  await upload.finished;
  assert.equal(upload.state, 'sent');
});

test('a file that changed since it was announced is given up, and nothing of it stays', async () => {
  const page = new Page();
  page.service.statusOf = () => 400;
  const [upload] = await page.add([file(1_000)]);
  await upload.finished;
  assert.equal(upload.problem.code, 'STORAGE_REFUSED');
  assert.ok(upload.isOver);
  assert.deepEqual(await page.kept(), []);
});

test('an upload that another client began without checksums goes on without them', async () => {
  const page = new Page();
  const release = holdAfter(page.service, 0);
  const [upload] = await page.add([file(4 * PART)]);
  await until(() => page.service.named('SignUploadParts').length > 0);
  for (const session of page.service.sessions.values()) session.isWithoutChecksums = true;
  const next = await page.reloaded();
  release();
  await next.uploads[0].finished;
  assert.equal(next.uploads[0].state, 'sent');
  assert.equal(upload.id, next.uploads[0].id);
});

test('what is wrong with a call, not with the file, keeps the file', async () => {
  const page = new Page();
  const original = page.service.SignUploadParts.bind(page.service);
  page.service.SignUploadParts = () => ({ parts: [], userErrors: [{ ...REFUSED, code: 'INVALID_INPUT' }] });
  const [upload] = await page.add([file(4 * PART)]);
  await until(() => upload.state === 'failed');
  assert.equal(upload.isOver, false);
  await page.settled();
  assert.equal((await page.kept()).length, 1);
  assert.deepEqual(page.service.named('AbortUpload'), []);
  page.service.SignUploadParts = original;
  upload.retry();
  await upload.finished;
  assert.equal(upload.state, 'sent');
});
