// One picture, large: fetched in the size that this window can show, with a way to delete it.

import { mutate, request } from '/demo/api.js';
import { announce, byId, element, showProblem } from '/demo/dom.js';
import { nameOf, timeOf } from '/demo/feed.js';
import { DELETE_MEDIA, LARGE } from '/demo/operations.js';
import { placeholder } from '/demo/thumbhash.js';

const MARGIN = 0.92;
const CAPTION_HEIGHT = 140;
// Beyond that a small picture only gets blurred.
const LARGEST_SCALE = 1.5;

export class Viewer {
  #media;
  #dialog = byId('viewer');
  #problem = byId('viewer-problem');

  // `viewerId` is set once it is known: until then nothing is offered for deletion.
  constructor({ feed }) {
    this.feed = feed;
    byId('close').onclick = () => this.#dialog.close();
    byId('previous').onclick = () => this.#step(-1);
    byId('next').onclick = () => this.#step(1);
    byId('delete').onclick = () => this.#ask();
    this.#dialog.onclick = ({ target }) => target === this.#dialog && this.#dialog.close();
    this.#dialog.onkeydown = ({ key }) => this.#step({ ArrowLeft: -1, ArrowRight: 1 }[key]);
    this.#dialog.onclose = () => { this.#media = undefined; byId('stage').replaceChildren(); };
  }

  open(media) {
    this.#media = media;
    this.#problem.hidden = true;
    byId('viewer-title').textContent = media.title || 'Untitled photo';
    byId('viewer-facts').textContent = factsOf(media);
    byId('delete').hidden = media.ownerId !== this.viewerId;
    byId('previous').disabled = !this.feed.beside(media.id, -1);
    byId('next').disabled = !this.feed.beside(media.id, 1);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#show(media);
  }

  async #show(media) {
    const width = this.#reserve(media);
    const hint = { width, devicePixelRatio: devicePixelRatio, accept: ['WEBP'] };
    try {
      const { media: large } = await request(LARGE, { id: media.id, hint });
      if (this.#media !== media) return;
      if (!large?.display) throw Object.assign(new Error('This photo is no longer there.'), { retryable: false });
      const image = element('img', { alt: nameOf(media), onload: () => image.classList.add('shown') });
      image.src = large.display.url;
      byId('stage').append(image);
      byId('viewer-facts').textContent = factsOf(media, large);
    } catch (problem) {
      if (this.#media === media) showProblem(this.#problem, problem, () => this.#show(media));
    }
  }

  // Takes the place the picture will have; its width in CSS pixels.
  #reserve(media) {
    const [across, down] = [media.width ?? 4, media.height ?? 3];
    const fitting = Math.min((innerWidth * MARGIN) / across, (innerHeight * MARGIN - CAPTION_HEIGHT) / down);
    const scale = Math.min(fitting, LARGEST_SCALE);
    const blur = placeholder(media.thumbhash);
    blur.ariaHidden = 'true';
    const stage = byId('stage');
    stage.replaceChildren(blur);
    stage.style.width = `${Math.round(across * scale)}px`;
    stage.style.aspectRatio = `${across} / ${down}`;
    return Math.max(1, Math.round(across * scale));
  }

  #step(step) {
    const other = step && this.#media && this.feed.beside(this.#media.id, step);
    if (other) this.open(other);
  }

  #ask() {
    const question = byId('question');
    const media = this.#media;
    question.onclose = () => question.returnValue === 'delete' && this.#delete(media, crypto.randomUUID());
    question.returnValue = '';
    question.showModal();
  }

  async #delete(media, idempotencyKey) {
    byId('delete').disabled = true;
    try {
      await mutate(DELETE_MEDIA, { idempotencyKey, ids: [media.id] });
      this.#dialog.close();
      this.feed.remove(media.id);
      announce(`${nameOf(media)} was deleted.`);
    } catch (problem) {
      showProblem(this.#problem, problem, () => this.#delete(media, idempotencyKey));
    } finally {
      byId('delete').disabled = false;
    }
  }
}

function factsOf(media, large) {
  const facts = [timeOf(media), `${media.width} × ${media.height}`];
  if (media.visibility === 'PRIVATE') facts.push('only you can see it');
  if (large?.display) facts.push(`shown at ${large.display.width} × ${large.display.height}`);
  return facts.join(' · ');
}
