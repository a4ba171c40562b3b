// One picture, large: fetched in the size that this window can show, with a way to delete it.

import { mutate, request } from '/demo/api.js';
import { whenComplete } from '/demo/completing.js';
import { announce, byId, element, showProblem } from '/demo/dom.js';
import { lengthOf, nameOf, timeOf } from '/demo/feed.js';
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
    this.#dialog.onkeydown = ({ key, target }) =>
      // In a clip the arrows are for its own controls.
      target.nodeName !== 'VIDEO' && this.#step({ ArrowLeft: -1, ArrowRight: 1 }[key]);
    this.#dialog.onclose = () => { this.#media = undefined; byId('stage').replaceChildren(); };
  }

  open(media) {
    this.#media = media;
    this.#problem.hidden = true;
    byId('viewer-title').textContent = media.title || nameOf(media);
    byId('viewer-facts').textContent = factsOf(media);
    byId('delete').hidden = media.ownerId !== this.viewerId;
    byId('previous').disabled = !this.feed.beside(media.id, -1);
    byId('next').disabled = !this.feed.beside(media.id, 1);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#show(media, this.#reserve(media));
  }

  async #show(media, width) {
    const hint = { width, devicePixelRatio, accept: ['AVIF', 'WEBP'] };
    try {
      const { media: large } = await request(LARGE, { id: media.id, hint });
      if (this.#media !== media) return;
      if (!large?.display) throw Object.assign(new Error('This photo is no longer there.'), { retryable: false });
      const [preview] = large.previews;
      byId('stage').append(preview ? playing(media, preview, large.display) : picture(media, large.display));
      byId('viewer-facts').textContent = factsOf(media, preview ?? large.display);
      if (!large.renditionsComplete && (await whenComplete(media, hint)) && this.#media === media) this.#show(media, width);
    } catch (problem) {
      if (this.#media === media) showProblem(this.#problem, problem, () => this.#show(media, width));
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

// Comes over what is there already once it has loaded.
function picture(media, { url }) {
  return element('img', { alt: nameOf(media), onload: ({ target }) => target.classList.add('shown'), src: url });
}

// Silent until somebody wants to hear it, and still for those who ask their system for that.
function playing(media, { url }, { url: poster }) {
  const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const controls = media.kind === 'VIDEO' || isCalm;
  return element('video', {
    ariaLabel: nameOf(media), muted: true, loop: true, playsInline: true, autoplay: !isCalm, controls, poster, src: url,
  });
}

function factsOf(media, shown) {
  const facts = [timeOf(media), `${media.width} × ${media.height}`];
  if (lengthOf(media)) facts.push(lengthOf(media));
  if (media.visibility === 'PRIVATE') facts.push('only you can see it');
  if (shown) facts.push(`shown at ${shown.width} × ${shown.height}`);
  return facts.join(' · ');
}
