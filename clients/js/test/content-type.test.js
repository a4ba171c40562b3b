import assert from 'node:assert/strict';
import { test } from 'node:test';

import { contentTypeOf } from '../src/content-type.js';
import { resized } from '../src/resizing.js';
import { Page } from './page.js';

/** The first box of an ISO base media file. */
function box([major, ...compatible]) {
  const size = Buffer.from([0, 0, 0, 16 + 4 * compatible.length]);
  return Buffer.concat([size, Buffer.from(`ftyp${major}`), Buffer.alloc(4), Buffer.from(compatible.join('')), Buffer.alloc(40)]);
}

for (const [what, bytes, type] of [
  ['a JPEG', Buffer.from('ffd8ffe000104a464946', 'hex'), 'image/jpeg'],
  ['a PNG', Buffer.from('89504e470d0a1a0a', 'hex'), 'image/png'],
  ['a GIF', Buffer.from('GIF89a'), 'image/gif'],
  ['a WebP', Buffer.from('RIFF\0\r\n\0WEBPVP8 ', 'latin1'), 'image/webp'],
  ['an AVIF', box(['avif', 'mif1']), 'image/avif'],
  ["an iPhone's photo", box(['heic', 'mif1', 'heic']), 'image/heic'],
  ['a HEIC that says so second', box(['mif1', 'heic']), 'image/heic'],
  ["an iPhone's clip", box(['qt  ']), 'video/quicktime'],
  ['an old QuickTime clip', Buffer.from('\0\0\0\x08wide\0\0\0\0mdat', 'latin1'), 'video/quicktime'],
  ['an MP4', box(['isom', 'iso2', 'avc1', 'mp41']), 'video/mp4'],
  ['a WebM', Buffer.from('1a45dfa39f4286810142f7810142f2810442f381084282847765626d', 'hex'), 'video/webm'],
]) {
  test(`${what} is announced as ${type}, whatever the browser calls it`, async () => {
    const named = new File([bytes], 'IMG_0001.jpg', { type: 'image/jpeg' });
    assert.equal(await contentTypeOf(named, named.name), type);
    const page = new Page();
    const [upload] = await page.add([new File([bytes], 'IMG_0001')]);
    await upload.finished;
    assert.equal(page.service.named('CreateUploads')[0].files[0].contentType, type);
  });
}

test('bytes that tell nothing leave the type to the browser, then to the name', async () => {
  const unknown = (name, type) => contentTypeOf(new File(['?'], name, { type }), name);
  assert.equal(await unknown('a.heic', ''), 'image/heic');
  assert.equal(await unknown('a.heic', 'image/tiff'), 'image/tiff');
  assert.equal(await unknown('a.xyz', ''), 'application/octet-stream');
});

test('a type that the page says is kept', async () => {
  const page = new Page();
  const [upload] = await page.add([new File(['GIF89a'], 'a.gif')], { describe: () => ({ contentType: 'image/x-own' }) });
  await upload.finished;
  assert.equal(page.service.named('CreateUploads')[0].files[0].contentType, 'image/x-own');
});

test('nothing but a JPEG that the browser can decode is made smaller', async () => {
  const policy = { maxDimension: 1, jpegQuality: 80 };
  globalThis.createImageBitmap = () => Promise.reject(new Error('The source image could not be decoded.'));
  for (const type of ['image/heic', 'image/gif', 'video/mp4', '', 'image/jpeg']) {
    const original = new File([box(['heic'])], 'a', { type });
    assert.equal(await resized(original, policy), original);
  }
  delete globalThis.createImageBitmap;
});
