// The feed: a grid that keeps each picture's place before it has loaded, and grows as one scrolls.

import { request } from '/demo/api.js';
import { whenComplete } from '/demo/completing.js';
import { element, showProblem } from '/demo/dom.js';
import { AGAIN, FEED } from '/demo/operations.js';
import { placeholder } from '/demo/thumbhash.js';

// Taller than that, a picture gets two rows of the grid; see feed.css, as for the sizes.
const TALL = 0.85;
const SIZES = '(max-width: 32rem) 100vw, (max-width: 50rem) 55vw, 400px';
const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export const nameOf = (media) => media.altText || media.title || `Untitled ${media.kind === 'VIDEO' ? 'clip' : 'photo'}`;
export const ratioOf = ({ width, height }) => (width && height ? Math.min(Math.max(width / height, 0.5), 2.5) : 1);
export const timeOf = (media) => TIME.format(new Date(media.createdAt));

// Of a clip or an animated picture, in minutes and seconds; null for what stands still.
export function lengthOf({ durationMs }) {
  if (durationMs == null) return null;
  const seconds = Math.ceil(durationMs / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

export class Feed {
  #tiles = new Map();
  #order = [];
  #after = null;
  #loading = false;
  #isComplete = false;

  constructor({ grid, empty, problem, more, count, hint, onOpen }) {
    Object.assign(this, { grid, empty, problem, more, count, hint, onOpen });
    more.onclick = () => this.loadMore();
    new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && !more.hidden && this.loadMore(), {
      rootMargin: '600px',
    }).observe(more.parentElement);
  }

  async loadMore() {
    if (this.#loading) return;
    const shown = this.#order.length;
    const byKeyboard = document.activeElement === this.more;
    this.#loading = this.more.hidden = true;
    this.grid.ariaBusy = 'true';
    try {
      const { feed } = await request(FEED, { after: this.#after, hint: this.hint });
      feed.nodes.forEach((media) => this.#place(media, this.#order.length));
      this.#after = feed.pageInfo.endCursor;
      this.#isComplete = !feed.pageInfo.hasNextPage;
      this.more.hidden = this.#isComplete;
      if (byKeyboard) this.#tiles.get(this.#order[shown]?.id)?.querySelector('button').focus();
    } catch (problem) {
      showProblem(this.problem, problem, () => this.loadMore());
    } finally {
      this.#loading = false;
      this.grid.ariaBusy = 'false';
      this.#tell();
    }
  }

  // A media that became ready while the page was open.
  add(media) {
    const older = this.#order.findIndex((other) => isNewer(media, other));
    this.#place(media, older < 0 ? this.#order.length : older);
    this.#tell();
  }

  remove(id) {
    const neighbour = this.beside(id, 1) ?? this.beside(id, -1);
    this.#tiles.get(id)?.remove();
    this.#tiles.delete(id);
    this.#order = this.#order.filter((media) => media.id !== id);
    this.#tell();
    (this.#tiles.get(neighbour?.id)?.querySelector('button') ?? this.grid.closest('section')).focus();
  }

  // The media so many places after this one, if there is one.
  beside(id, step) {
    return this.#order[this.#order.findIndex((media) => media.id === id) + step];
  }

  #place(media, at) {
    if (this.#tiles.has(media.id)) return;
    const tile = this.#tile(media);
    this.grid.insertBefore(tile, this.#tiles.get(this.#order[at]?.id) ?? null);
    this.#tiles.set(media.id, tile);
    this.#order.splice(at, 0, media);
    if (!media.renditionsComplete) this.#complete(media, tile);
  }

  async #complete(media, tile) {
    const whole = await whenComplete(media, this.hint);
    if (whole) show(tile.querySelector('img'), Object.assign(media, whole));
  }

  #tell() {
    const shown = this.#order.length;
    const hasClips = this.#order.some(({ kind }) => kind === 'VIDEO');
    const [one, many] = hasClips ? ['clip', 'photos and clips'] : ['photo', 'photos'];
    this.empty.hidden = shown > 0 || !this.problem.hidden;
    this.count.textContent = shown && this.#isComplete ? `${shown} ${shown === 1 ? one : many}` : '';
  }

  #tile(media) {
    const blur = placeholder(media.thumbhash);
    blur.className = 'blur';
    blur.ariaHidden = 'true';
    const open = element('button', { type: 'button', className: 'open', onclick: () => this.onOpen(media) },
      blur, picture(media, this.hint));
    open.style.backgroundColor = media.dominantColor ?? '';
    const label = element('div', { className: 'label' },
      element('span', { className: 'title', textContent: media.title ?? '' }),
      lengthOf(media) && element('span', { className: 'badge', textContent: `▶ ${lengthOf(media)}` }),
      media.visibility === 'PRIVATE' ? element('span', { className: 'badge', textContent: 'Only me' }) : null);
    const tile = element('li', { className: 'tile' }, open, label);
    tile.dataset.id = media.id;
    tile.style.setProperty('--ratio', ratioOf(media));
    tile.classList.toggle('tall', ratioOf(media) < TALL);
    return tile;
  }
}

// As the feed orders them; those of one batch were created together.
function isNewer(media, other) {
  if (media.createdAt !== other.createdAt) return media.createdAt > other.createdAt;
  return (media.position ?? 0) > (other.position ?? 0);
}

function picture(media, hint) {
  const image = element('img', {
    alt: nameOf(media),
    width: media.width ?? 1,
    height: media.height ?? 1,
    loading: 'lazy',
    decoding: 'async',
    sizes: SIZES,
    onload: () => image.classList.add('shown'),
    onerror: () => renew(image, media, hint),
  });
  return show(image, media);
}

function show(image, { srcset, display }) {
  return Object.assign(image, { srcset: srcset ?? '', src: display?.url ?? '' });
}

// Once: on a page that was open for hours, the addresses have run out.
async function renew(image, { id }, hint) {
  image.onerror = null;
  const { media } = await request(AGAIN, { id, hint }).catch(() => ({}));
  if (media?.status === 'READY') show(image, media);
}
