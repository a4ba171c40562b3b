import assert from 'node:assert/strict';
import { test } from 'node:test';

import { broken, FakeService, hexDigest, PART, POLICY } from './fake-service.js';
import { file, Page, until } from './page.js';

async function over(uploads) {
  await Promise.all(uploads.map(({ finished }) => finished));
}

test('a small file goes up whole, announced with its digest and what people say of it', async () => {
  const page = new Page();
  const photo = file(1_500, 'cat.jpg');
  const [upload] = await page.add([photo], { visibility: 'PRIVATE', describe: ({ name }) => ({ title: `My ${name}` }) });
  await over([upload]);
  assert.equal(upload.state, 'sent');
  assert.equal(upload.bytesSent, 1_500);
  assert.deepEqual(upload.media, { id: 'media-upload-1', status: 'UPLOADED' });
  const [{ idempotencyKey, ...input }] = page.service.named('CreateUploads');
  assert.match(idempotencyKey, /^[0-9a-f-]{36}$/);
  assert.deepEqual(input, {
    purpose: 'COMMUNITY',
    visibility: 'PRIVATE',
    files: [{ title: 'My cat.jpg', contentType: 'image/jpeg', byteSize: 1_500, fileName: 'cat.jpg', sha256: await hexDigest(photo) }],
  });
  assert.deepEqual(await page.kept(), []);
});

test('a large file goes up in parts, three at once, each with its checksum, and is completed in order', async () => {
  const page = new Page();
  const [upload] = await page.add([file(10 * PART + 1)]);
  await over([upload]);
  assert.equal(upload.state, 'sent');
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  assert.equal(page.service.puts.find(({ number }) => number === 11).bytes, 1);
  assert.equal(page.service.mostAtOnce.parts, 3);
  const [{ parts }] = page.service.named('CompleteUpload');
  assert.deepEqual(parts.map(({ number }) => number), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  for (const { partNumbers } of page.service.named('SignUploadParts')) assert.ok(partNumbers.length <= 100);
});

test('three files at once, announced by twenties', async () => {
  const page = new Page();
  await over(await page.add(Array.from({ length: 45 }, (_, index) => file(1_000, `${index}.jpg`, index))));
  assert.deepEqual(page.service.named('CreateUploads').map(({ files }) => files.length), [20, 20, 5]);
  assert.equal(page.service.mostAtOnce.files, 3);
  assert.ok(page.uploads.every(({ state }) => state === 'sent'));
});

test('on a slow network fewer go at once, as the policy says for it', async () => {
  const page = new Page();
  page.network.quality = () => 'TWO_G';
  page.service.UploadPolicy = () => ({ ...POLICY, maxConcurrentUploads: 1, maxConcurrentParts: 2 });
  await over(await page.add([1, 2, 3].map((seed) => file(5 * PART, `${seed}.jpg`, seed))));
  assert.deepEqual(page.service.named('UploadPolicy'), [{ purpose: 'COMMUNITY', network: 'TWO_G' }]);
  assert.equal(page.service.mostAtOnce.files, 1);
  assert.equal(page.service.mostAtOnce.parts, 2);
});

test('without an answer to what it should do, it uploads all the same', async () => {
  const page = new Page();
  page.service.UploadPolicy = () => { throw new Error('not today'); };
  const [upload] = await page.add([file(5 * PART)]);
  await over([upload]);
  assert.equal(upload.state, 'sent');
});

test('what the owner already has is not sent', async () => {
  const page = new Page();
  const photo = file(1_500);
  page.service.owned.set(await hexDigest(photo), 'media-of-old');
  const [upload] = await page.add([photo]);
  await over([upload]);
  assert.equal(upload.state, 'duplicate');
  assert.equal(upload.media.id, 'media-of-old');
  assert.deepEqual(page.service.puts, []);
  assert.deepEqual(await page.kept(), []);
});

test('a refused file says why and holds up no other', async () => {
  const page = new Page();
  const [large, fine] = await page.add([file(60_000, 'large.jpg'), file(500, 'fine.jpg')]);
  await over([large, fine]);
  assert.equal(large.state, 'failed');
  assert.equal(large.problem.code, 'TOO_LARGE');
  assert.equal(fine.state, 'sent');
  assert.deepEqual(await page.kept(), []);
});

test('progress grows to the size of the file, and never beyond', async () => {
  const page = new Page();
  const seen = [];
  page.client.addEventListener('upload', ({ upload }) => upload.addEventListener('change', () => seen.push(upload.bytesSent)));
  await over(await page.add([file(5 * PART)]));
  assert.equal(Math.max(...seen), 5 * PART);
  assert.ok(new Set(seen).size > 3);
});

test('a broken connection is retried after 1, 2, 4, 8 and 16 of the policy, each with some chance added', async () => {
  const page = new Page();
  page.service.onPut = async () => { throw broken(); };
  const [upload] = await page.add([file(1_000)]);
  await until(() => upload.state === 'failed');
  assert.equal(upload.problem.retryable, true);
  const expected = [1, 2, 4, 8, 16];
  assert.equal(page.slept.length, expected.length);
  page.slept.forEach((slept, index) => assert.ok(slept >= expected[index] && slept <= expected[index] * 1.25, `${page.slept}`));
  page.service.onPut = async () => {};
  upload.retry();
  await over([upload]);
  assert.equal(upload.state, 'sent');
  assert.equal(new Set(page.service.named('CreateUploads').map(({ idempotencyKey }) => idempotencyKey)).size, 1);
});

test('it waits as long as the service asks', async () => {
  const page = new Page();
  const original = page.service.CreateUploads.bind(page.service);
  let tries = 0;
  page.service.CreateUploads = (input) => {
    tries += 1;
    const error = { code: 'RATE_LIMITED', message: 'Slower.', retryable: true, retryAfterMs: 7_000 };
    return tries === 1 ? { outcomes: [], userErrors: [error] } : original(input);
  };
  const [upload] = await page.add([file(1_000)]);
  await over([upload]);
  assert.deepEqual(page.slept, [7_000]);
  assert.equal(upload.state, 'sent');
});

test('it waits as long as the service asks that has refused the whole operation', async () => {
  const { service } = new Page();
  const original = service.fetch;
  let refused = 0;
  service.fetch = (url, options) => {
    if (!options.body.includes('CreateUploads') || refused++) return original(url, options);
    const extensions = { code: 'RATE_LIMITED', retryable: true, retryAfterMs: 9_000 };
    return Promise.resolve({ status: 429, json: async () => ({ errors: [{ message: 'Slower.', extensions }] }) });
  };
  const page = new Page({ service });
  const [upload] = await page.add([file(1_000)]);
  await over([upload]);
  assert.deepEqual(page.slept, [9_000]);
  assert.equal(upload.state, 'sent');
});

test('a part that fails is the only one that is sent again', async () => {
  const page = new Page();
  let failures = 0;
  page.service.statusOf = ({ number }) => (number === 4 && failures++ < 2 ? 503 : undefined);
  await over(await page.add([file(6 * PART)]));
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5, 6]);
  assert.equal(page.service.puts.filter(({ number }) => number === 4).length, 3);
});

test('a part whose answer was lost is not sent again', async () => {
  const page = new Page();
  const original = page.service.send;
  let lost = 0;
  const send = async (target, body, options) => {
    const result = await original(target, body, options);
    if (JSON.parse(target.url).number === 2 && lost++ === 0) throw broken();
    return result;
  };
  const other = new Page({ service: page.service, send });
  await over(await other.add([file(4 * PART)]));
  assert.equal(lost, 1);
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4]);
});

test('a whole file whose answer was lost is there: 412 is success', async () => {
  const page = new Page();
  const original = page.service.send;
  let lost = 0;
  const send = async (...request) => {
    const result = await original(...request);
    if (lost++ === 0) throw broken();
    return result;
  };
  const other = new Page({ service: page.service, send });
  const [upload] = await other.add([file(1_000)]);
  await over([upload]);
  assert.equal(upload.state, 'sent');
  assert.deepEqual(page.service.puts.map(({ status }) => status), [200, 412]);
});

test('an address that has run out is signed again', async () => {
  const page = new Page();
  const expired = new Set([0, 2]);
  page.service.statusOf = ({ number }) => (expired.delete(number) ? 403 : undefined);
  const uploads = await page.add([file(1_000, 'whole.jpg'), file(3 * PART, 'parts.jpg')]);
  await over(uploads);
  assert.deepEqual(uploads.map(({ state }) => state), ['sent', 'sent']);
  const signed = page.service.named('SignUploadParts').flatMap(({ partNumbers }) => partNumbers);
  assert.equal(signed.filter((number) => number === 2).length, 2);
});

test('a token that has run out is asked for again', async () => {
  const asked = [];
  const service = new FakeService();
  service.token = 'second';
  const page = new Page({ service, getToken: (isAgain) => {
    asked.push(isAgain);
    return isAgain ? 'second' : 'first';
  } });
  const [upload] = await page.add([file(1_000)]);
  await over([upload]);
  assert.equal(upload.state, 'sent');
  assert.deepEqual(asked.slice(0, 2), [false, true]);
});

test('parts that storage has lost meanwhile are sent again before it is completed', async () => {
  const page = new Page();
  const original = page.service.CompleteUpload.bind(page.service);
  let tries = 0;
  page.service.CompleteUpload = (input) => {
    if (tries++ === 0) page.service.sessions.get(input.uploadId).parts.delete(2);
    return original(input);
  };
  const [upload] = await page.add([file(3 * PART)]);
  await over([upload]);
  assert.equal(upload.state, 'sent');
  assert.deepEqual(page.service.numbersStored(), [1, 2, 2, 3]);
});

test('a file that cannot be read fails at once, and nothing of it stays', async () => {
  const page = new Page();
  const moved = file(3 * PART, 'moved.jpg');
  moved.arrayBuffer = () => Promise.reject(new DOMException('gone', 'NotReadableError'));
  const [bad, good] = await page.add([moved, file(500, 'good.jpg')], {});
  await over([bad, good]);
  assert.equal(bad.problem.code, 'FILE_UNREADABLE');
  assert.equal(good.state, 'sent');
  assert.deepEqual(await page.kept(), []);
});
