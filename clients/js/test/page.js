// A page with the client on it; several in a row stand for reloads.

import 'fake-indexeddb/auto';

import { File as NodeFile } from 'node:buffer';
import { randomUUID, webcrypto } from 'node:crypto';

import { IndexedDbStore, UploadClient } from '../src/index.js';
import { FakeService } from './fake-service.js';

// Browsers have both, Node.js 18 not yet.
globalThis.crypto ??= webcrypto;
globalThis.File ??= NodeFile;

/** A network that can be taken away. */
export class Network {
  #isOffline = false;
  #listeners = [];

  isOffline = () => this.#isOffline;
  quality = () => 'WIFI';
  untilOnline = async (signal) => {
    signal?.throwIfAborted();
    if (!this.#isOffline) return;
    await new Promise((resolve, reject) => {
      this.#listeners.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  };

  lose() { this.#isOffline = true; }

  find() {
    this.#isOffline = false;
    this.#listeners.splice(0).forEach((listen) => listen());
  }
}

export class Page {
  slept = [];
  uploads = [];
  network = new Network();

  constructor({ service = new FakeService(), database = randomUUID(), owner = 'ada', ...options } = {}) {
    this.service = service;
    this.database = database;
    this.owner = owner;
    this.gone = false;
    // A page that was closed sends nothing and hears nothing any more.
    const whileHere = (work) => (...request) => (this.gone ? new Promise(() => {}) : work(...request));
    this.client = new UploadClient({
      url: 'http://service.test/graphql',
      getToken: () => service.token,
      owner,
      store: new IndexedDbStore({ owner, name: database, keepsFiles: options.keepsFiles }),
      fetch: whileHere(service.fetch),
      send: whileHere(service.send),
      connectivity: this.network,
      sleep: async (milliseconds) => { this.slept.push(milliseconds); },
      ...options,
    });
    this.client.addEventListener('upload', ({ upload }) => this.uploads.push(upload));
  }

  add(files, options = {}) {
    return this.client.add(files, { purpose: 'COMMUNITY', ...options });
  }

  /** The page that a reload makes of this one. */
  async reloaded(options = {}) {
    this.gone = true;
    const page = new Page({ service: this.service, database: this.database, owner: this.owner, ...options });
    await page.client.resume();
    await page.settled();
    return page;
  }

  /** Lets everything that is ready happen. */
  async settled() {
    for (let turn = 0; turn < 25; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async kept() {
    return new IndexedDbStore({ owner: this.owner, name: this.database }).all();
  }
}

export function file(size, name = 'photo.jpg', seed = size) {
  const bytes = new Uint8Array(size).map((_, index) => (index * 31 + seed) % 251);
  return new File([bytes], name, { type: 'image/jpeg' });
}

/** Lets so many PUTs through, and holds the rest until the returned function is called. */
export function holdAfter(service, count) {
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  let seen = 0;
  service.onPut = async () => { if (seen++ >= count) await released; };
  return release;
}

export async function until(holds) {
  const deadline = Date.now() + 5_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`never: ${holds}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
