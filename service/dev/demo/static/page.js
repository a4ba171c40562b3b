// The demo page: wires what people do to uploads, feed and viewer.

import { forgetSession, request, token } from '/demo/api.js';
import { byId, showProblem } from '/demo/dom.js';
import { Feed } from '/demo/feed.js';
import { VIEWER } from '/demo/operations.js';
import { GraphQLSocket } from '/demo/socket.js';
import { Uploads } from '/demo/uploads.js';
import { Viewer } from '/demo/viewer.js';

const TILE_WIDTH = 360;
const STATES = { off: 'Signed in as demo', connecting: 'Connecting', on: 'Live', lost: 'Reconnecting' };

const hint = { width: TILE_WIDTH, devicePixelRatio, accept: ['AVIF', 'WEBP'] };
const rows = [];

function showState(state) {
  byId('live').dataset.state = state;
  byId('live-text').textContent = STATES[state];
}

function addRow(row) {
  rows.push(row);
  byId('uploads').hidden = false;
  byId('upload-list').prepend(row.item);
}

function clearFinished() {
  for (const row of rows.filter(({ ended }) => ended)) {
    row.item.remove();
    rows.splice(rows.indexOf(row), 1);
  }
  byId('uploads').hidden = rows.length === 0;
}

function acceptFiles(uploads) {
  const start = (files) => {
    const { visibility } = Object.fromEntries(new FormData(byId('composer')));
    const details = { visibility, caption: byId('caption').value.trim(), altText: byId('alt-text').value.trim() };
    uploads.start([...files], details);
    byId('caption').value = byId('alt-text').value = '';
  };
  for (const input of [byId('files'), byId('camera')]) {
    input.onchange = () => {
      start(input.files);
      input.value = '';
    };
  }
  byId('composer').onsubmit = (event) => event.preventDefault();
  acceptDrops(start);
}

// Anywhere on the page: a near miss must not make the browser leave it.
function acceptDrops(start) {
  const drop = byId('drop');
  const carriesFiles = ({ dataTransfer }) => dataTransfer?.types.includes('Files');
  document.ondragover = (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    drop.classList.add('over');
  };
  document.ondragleave = ({ relatedTarget }) => relatedTarget ?? drop.classList.remove('over');
  document.ondrop = (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    drop.classList.remove('over');
    if (event.dataTransfer.files.length) start(event.dataTransfer.files);
  };
  document.onpaste = ({ clipboardData }) => clipboardData.files.length && start(clipboardData.files);
}

const feed = new Feed({
  grid: byId('grid'), empty: byId('empty'), problem: byId('feed-problem'), more: byId('more'),
  count: byId('feed-count'), hint, onOpen: (media) => viewer.open(media),
});
const viewer = new Viewer({ feed });
const socket = new GraphQLSocket(`${location.origin.replace('http', 'ws')}/graphql`, {
  getToken: token, onRefused: forgetSession, onState: showState,
});
const uploads = new Uploads({ socket, hint, onReady: (media) => feed.add(media), addRow });

async function open() {
  const { viewer: { id } } = await request(VIEWER);
  if (!viewer.viewerId) uploads.signedIn(id);
  viewer.viewerId = id;
  showState('off');
  await feed.loadMore();
}

async function openUntilItWorks() {
  try {
    await open();
  } catch (problem) {
    showState('lost');
    showProblem(byId('feed-problem'), problem, openUntilItWorks);
  }
}

// Before anything has been answered: what people choose meanwhile waits in the list.
acceptFiles(uploads);
byId('clear').onclick = clearFinished;
openUntilItWorks();
