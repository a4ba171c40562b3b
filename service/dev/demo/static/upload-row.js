// One line of the list of uploads: what is known of a file, from choosing it to its end.

import { announce, button, element } from '/demo/dom.js';

// Sending is the first half of the way, what the service does with it the second.
const SENT = 0.5;
const WORDS = { UPLOADED: 'Received', PROCESSING: 'Processing' };

export class UploadRow {
  #ended = false;

  constructor(file) {
    this.name = file.name;
    this.preview = element('img', { className: 'preview', alt: '', src: URL.createObjectURL(file) });
    this.preview.onload = this.preview.onerror = ({ type }) => {
      URL.revokeObjectURL(this.preview.src);
      if (type === 'error') this.preview.replaceWith(element('span', { className: 'preview none' }));
    };
    this.status = element('span', { className: 'status' });
    this.progress = element('progress', { max: 1, value: 0, ariaLabel: `Progress of ${file.name}` });
    this.actions = element('span', { className: 'actions' });
    const name = element('span', { className: 'name', textContent: file.name, title: file.name });
    const words = element('div', { className: 'words' }, name, this.status, this.progress);
    this.item = element('li', { className: 'upload' }, this.preview, words, this.actions);
  }

  get ended() { return this.#ended; }

  waiting() {
    this.#ended = false;
    this.progress.value = 0;
    this.#show('busy', 'Preparing');
  }

  sending(share) { this.#advance(share * SENT, `Uploading ${Math.floor(share * 100)} %`); }

  sent() { this.#advance(SENT, 'Received'); }

  // Snapshots from before the bytes arrived say less than the upload itself does.
  processing(status, progress) {
    if (status in WORDS) this.#advance(progress, WORDS[status]);
  }

  ready() {
    if (this.#ended) return;
    this.#end('ready', 'Ready');
    announce(`${this.name} is ready.`);
  }

  fail(problem, retry) {
    if (this.#ended) return;
    this.#end('failed', problem.message);
    if (problem.retryable && retry) this.actions.append(button('Try again', retry));
    announce(`${this.name}: ${problem.message}`);
  }

  #advance(progress, words) {
    if (this.#ended || progress < this.progress.value) return;
    this.progress.value = progress;
    this.#show('busy', words);
  }

  #end(state, words) {
    this.#ended = true;
    this.#show(state, words);
  }

  #show(state, words) {
    this.item.dataset.state = state;
    this.status.textContent = words;
    this.actions.replaceChildren();
  }
}
