// TypeScript finds the package's types where `npm install <folder>` leaves it: in a clone, without a build.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const PAGE = `
import { IndexedDbStore, MediaApi, UploadClient } from 'media-upload-client';
import type { BatchDetails, Upload, UploadState } from 'media-upload-client';
import { uppy5Options, uppyOptions } from 'media-upload-client/uppy';

const OVER: UploadState[] = ['sent', 'duplicate'];
const details: BatchDetails = { purpose: 'COMMUNITY' };
const client = new UploadClient({ url: '/graphql', owner: 'ada', getToken: async () => 'token', store: new IndexedDbStore({ owner: 'ada' }) });
export const idsOf = (uploads: Upload[]): (string | undefined)[] => uploads.map(({ media }) => media?.id);
client.addEventListener('upload', ({ upload }) => console.log(upload.name, OVER.includes(upload.state), upload.problem?.code));
await client.add([new File([], 'one.jpg')], { ...details, describe: (file) => ({ title: file.name }) });
const api = new MediaApi('/graphql', { getToken: async () => 'token' });
export const options = [uppyOptions({}, api, details), uppy5Options({}, api, details)];
`;

async function tsc(folder, resolution) {
  const strict = ['--strict', '--noEmit', '--target', 'ES2022', '--lib', 'ES2022,DOM,DOM.Iterable'];
  return promisify(execFile)(process.execPath, [TSC, ...strict, ...resolution, 'page.mts'], { cwd: folder })
    .then(() => '', ({ stdout }) => stdout);
}

test('tsc --strict checks a page that uses the client', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'media-upload-client-'));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'node_modules'));
  await symlink(PACKAGE, join(folder, 'node_modules', 'media-upload-client'), 'dir');
  await writeFile(join(folder, 'page.mts'), PAGE);
  assert.equal(await tsc(folder, ['--module', 'NodeNext']), '');
  await writeFile(join(folder, 'page.mts'), PAGE.replace("owner: 'ada', get", "owner: 1, get"));
  assert.match(await tsc(folder, ['--module', 'ESNext', '--moduleResolution', 'bundler']), /TS2322.*number/);
});
