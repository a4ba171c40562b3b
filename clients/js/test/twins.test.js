import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PART } from './fake-service.js';
import { file, holdAfter, Page, until } from './page.js';

async function bothUnderWay(page, size = 6 * PART) {
  const release = holdAfter(page.service, 2);
  const [first] = await page.add([file(size)]);
  await until(() => page.service.puts.length === 2);
  const [second] = await page.add([file(size, 'again.jpg', size)]);
  await until(async () => (await page.kept()).filter(({ uploadId }) => uploadId).length === 2);
  return { first, second, release };
}

test('a file that was chosen twice is sent once', async () => {
  const page = new Page();
  const { first, second, release } = await bothUnderWay(page);
  release();
  await Promise.all([first.finished, second.finished]);
  assert.deepEqual([first.state, second.state], ['sent', 'sent']);
  assert.equal(second.media.id, first.media.id);
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5, 6]);
});

for (const name of ['first', 'second']) {
  test(`cancelling the ${name} of two leaves the other, which sends only the rest`, async () => {
    const page = new Page();
    const { release, ...uploads } = await bothUnderWay(page);
    const { [name]: unwanted, ...others } = uploads;
    const [wanted] = Object.values(others);
    await unwanted.cancel();
    release();
    await wanted.finished;
    assert.equal(wanted.state, 'sent');
    assert.deepEqual(page.service.named('AbortUpload'), []);
    assert.equal(page.service.sessions.size, 1);
    assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5, 6]);
  });
}

test('cancelling both ends the session', async () => {
  const page = new Page();
  const { first, second } = await bothUnderWay(page);
  await Promise.all([first.cancel(), second.cancel()]);
  assert.deepEqual([...page.service.sessions.values()].map(({ media }) => media.status), ['EXPIRED']);
  assert.deepEqual(await page.kept(), []);
});

test('while the first is paused, the second sends', async () => {
  const page = new Page();
  const { first, second, release } = await bothUnderWay(page);
  await first.pause();
  release();
  await second.finished;
  await first.resume();
  await first.finished;
  assert.deepEqual([first.state, second.state], ['sent', 'sent']);
  assert.deepEqual(page.service.numbersStored(), [1, 2, 3, 4, 5, 6]);
});

test('the first of two that were chosen together is cancelled: the second brings the file all the same', async () => {
  const page = new Page();
  const release = holdAfter(page.service, 0);
  const [first, second] = await page.add([file(1_500, 'one.jpg'), file(1_500, 'two.jpg')]);
  await until(() => page.service.puts.length === 0 && first.state === 'sending');
  await first.cancel();
  release();
  await second.finished;
  assert.equal(second.state, 'sent');
  assert.deepEqual(page.service.named('AbortUpload'), []);
  assert.deepEqual([...page.service.sessions.values()].map(({ media }) => media.status), ['UPLOADED']);
});

test('a twin that still waits for its turn keeps the session', async () => {
  const page = new Page();
  const release = holdAfter(page.service, 0);
  const uploads = await page.add([file(1_500, 'one.jpg', 1), file(1_400, 'a.jpg', 2), file(1_300, 'b.jpg', 3), file(1_500, 'two.jpg', 1)]);
  await until(() => uploads.filter(({ state }) => state === 'sending').length === 3);
  await uploads[0].cancel();
  release();
  await uploads[3].finished;
  assert.equal(uploads[3].state, 'sent');
  assert.deepEqual(page.service.named('AbortUpload'), []);
  assert.equal(page.service.named('CreateUploads').length, 1);
});
