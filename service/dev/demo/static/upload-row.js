// One line of the list of uploads: what is known of a file, from choosing it to its end.

import { announce, button, element } from '/demo/dom.js';

// Sending is the first half of the way, what the service does with it the second.
const SENT = 0.5;
const WORDS = { UPLOADED: 'Received', PROCESSING: 'Processing' };
const NOTHING_SENT = 'Nothing was sent: storage had it';

export class UploadRow {
  #ended = false;
  #words = () => '';
  // Whether storage had its bytes, so that none were sent.
  #wasThere = false;

  // What pauses, resumes and cancels it; until then there is nothing to press.
  controls;

  // `file`: or the upload of one that the browser did not keep.
  constructor(file) {
    this.name = file.name;
    this.preview = file instanceof Blob ? picture(file) : element('span', { className: 'preview none' });
    this.status = element('span', { className: 'status' });
    this.progress = element('progress', { max: 1, value: 0, ariaLabel: `Progress of ${this.name}` });
    this.actions = element('span', { className: 'actions' });
    const name = element('span', { className: 'name', textContent: this.name, title: this.name });
    const words = element('div', { className: 'words' }, name, this.status, this.progress);
    this.item = element('li', { className: 'upload' }, this.preview, words, this.actions);
    for (const change of ['online', 'offline']) addEventListener(change, () => this.#say());
  }

  get ended() { return this.#ended; }

  // What the client says of it, until it is sent.
  show({ state, bytesSent, size, problem, media }) {
    // The service may have made it ready before storage's own answer came through.
    if (this.#ended && state !== 'waiting') return;
    const share = size ? bytesSent / size : 0;
    const percent = `${Math.floor(share * 100)} %`;
    if (state === 'waiting') this.#begin();
    else if (state === 'sending') this.#send(share, () => (navigator.onLine ? `Uploading ${percent}` : `Waiting for the network at ${percent}`));
    else if (state === 'paused') this.#pause(problem?.message ?? (share ? `Paused at ${percent}` : 'Paused'));
    else if (state === 'sent') this.#advance(SENT, 'Received');
    else if (state === 'duplicate') this.#recognise(media);
    else if (state === 'cancelled') this.#end('cancelled', 'Cancelled');
  }

  // Snapshots from before the bytes arrived say less than the upload itself does.
  processing(status, progress) {
    if (status in WORDS) this.#advance(progress, this.#wasThere ? NOTHING_SENT : WORDS[status]);
  }

  ready() {
    if (this.#ended) return;
    this.#end('ready', 'Ready');
    announce(`${this.name} is ready.`);
  }

  // `retry`: where another try may end better.
  fail(problem, retry) {
    if (this.#ended) return;
    this.#end('failed', problem.message);
    if (problem.code === 'FILE_NEEDED') this.actions.append(this.#chooser(), this.#cancelButton());
    else if (retry) this.actions.append(button('Try again', retry), this.#cancelButton());
    announce(`${this.name}: ${problem.message}`);
  }

  #begin() {
    this.#ended = this.#wasThere = false;
    this.progress.value = 0;
    this.#set('busy', () => 'Preparing', ...(this.controls ? [this.#cancelButton()] : []));
  }

  #send(share, words) {
    this.progress.value = share * SENT;
    const pause = button('Pause', () => this.controls.pause(), 'button small');
    this.#set('busy', words, pause, this.#cancelButton());
  }

  #pause(words) {
    const resume = button('Resume', () => this.controls.resume(), 'button small');
    this.#set('paused', () => words, resume, this.#cancelButton());
  }

  // The same photo, or a new one made of the same bytes, which may still fail.
  #recognise({ status }) {
    this.#wasThere = true;
    if (status === 'READY') this.#end('duplicate', 'Already here, nothing was sent');
    else this.#advance(SENT, NOTHING_SENT);
  }

  #advance(progress, words) {
    if (this.#ended || progress < this.progress.value) return;
    this.progress.value = progress;
    this.#set('busy', () => words);
  }

  #end(state, words) {
    this.#ended = true;
    this.#set(state, () => words);
  }

  #cancelButton() {
    return button('Cancel', () => this.controls.cancel(), 'button small quiet');
  }

  // For browsers that did not keep the file over a reload.
  #chooser() {
    const input = element('input', { type: 'file', className: 'covered' });
    input.onchange = () => {
      try {
        this.controls.provide(input.files[0]);
      } catch ({ message }) {
        this.status.textContent = message;
      }
    };
    return element('label', { className: 'button small' }, 'Choose it again', input);
  }

  #set(state, words, ...actions) {
    const isNew = this.item.dataset.state !== state || this.actions.childElementCount !== actions.length;
    this.item.dataset.state = state;
    this.#words = words;
    this.#say();
    // Only where they change: a button that is replaced while it is pressed is never clicked.
    if (isNew) this.actions.replaceChildren(...actions);
  }

  #say() { this.status.textContent = this.#words(); }
}

function picture(file) {
  const image = element('img', { className: 'preview', alt: '', src: URL.createObjectURL(file) });
  image.onload = image.onerror = ({ type }) => {
    URL.revokeObjectURL(image.src);
    if (type === 'error') image.replaceWith(element('span', { className: 'preview none' }));
  };
  return image;
}
