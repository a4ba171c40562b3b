// The GraphQL explorer: write an operation, run it over HTTP or, for a subscription, over WebSocket.

import { token } from '/demo/api.js';
import { byId, element } from '/demo/dom.js';
import { Docs } from '/demo/explorer-docs.js';
import { EXAMPLES } from '/demo/explorer-examples.js';
import { GraphQLSocket } from '/demo/socket.js';

const OPERATION = /\b(query|mutation|subscription)\b\s*(\w*)/g;
const KEPT = 'explorer.operation';

let stop;

const bearer = () => byId('token').value.trim();

const socket = new GraphQLSocket(`${location.origin.replace('http', 'ws')}/graphql`, { getToken: async () => bearer() });

// The operation that the caret stands in, by the words that begin it.
function operationAtCaret(query) {
  const text = query.replace(/#.*|"(?:[^"\\\n]|\\.)*"/g, (skipped) => ' '.repeat(skipped.length));
  const found = [...text.matchAll(OPERATION)];
  const current = found.findLast(({ index }) => index <= byId('query').selectionStart) ?? found[0];
  return { kind: current?.[1] ?? 'query', name: current?.[2] || null };
}

function show(value) {
  byId('answer').textContent = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

async function post(body) {
  const headers = { 'Accept': 'application/graphql-response+json', 'Content-Type': 'application/json' };
  if (bearer()) headers.Authorization = `Bearer ${bearer()}`;
  const response = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: response.status, answer: await response.json() };
}

async function runOnce(body) {
  const started = performance.now();
  const { status, answer } = await post(body);
  show(answer);
  byId('timing').textContent = `HTTP ${status} in ${Math.round(performance.now() - started)} ms`;
}

function follow(body) {
  const answers = [];
  const ended = (words) => {
    byId('timing').textContent = `${answers.length} events, ${words}`;
    setRunning(undefined);
  };
  show('Waiting for the first event ...');
  setRunning(socket.subscribe(body.query, () => body.variables, {
    next: (answer) => {
      answers.unshift(answer);
      show(answers.map((each) => JSON.stringify(each, null, 2)).join('\n\n'));
      byId('timing').textContent = `${answers.length} events`;
    },
    error: (errors) => { show({ errors }); ended('refused'); },
    complete: () => ended('complete'),
  }));
}

function setRunning(stopper) {
  stop = stopper;
  byId('run').firstChild.textContent = stop ? 'Stop ' : 'Run ';
}

async function run() {
  if (stop) {
    stop();
    return setRunning(undefined);
  }
  const query = byId('query').value;
  try {
    const variables = JSON.parse(byId('variables').value || '{}');
    const { kind, name } = operationAtCaret(query);
    const body = { query, variables, operationName: name };
    return kind === 'subscription' ? follow(body) : await runOnce(body);
  } catch (error) {
    return show(error instanceof SyntaxError ? `The variables are not JSON: ${error.message}` : String(error.message));
  }
}

function choose({ query, variables }) {
  byId('query').value = query;
  byId('variables').value = JSON.stringify(variables, null, 2);
}

function restore() {
  const kept = localStorage.getItem(KEPT);
  choose(kept ? JSON.parse(kept) : EXAMPLES[0]);
  for (const id of ['query', 'variables']) {
    byId(id).oninput = () => {
      try {
        const variables = JSON.parse(byId('variables').value || '{}');
        localStorage.setItem(KEPT, JSON.stringify({ query: byId('query').value, variables }));
      } catch {
        // Half-typed variables are not worth keeping.
      }
    };
  }
}

async function open() {
  const example = byId('example');
  example.append(new Option('Examples', ''), ...EXAMPLES.map(({ name }) => element('option', { textContent: name })));
  example.onchange = () => {
    const chosen = EXAMPLES.find(({ name }) => name === example.value);
    if (chosen) choose(chosen);
  };
  byId('run').onclick = run;
  document.onkeydown = (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  };
  restore();
  byId('token').value = await token().catch(() => '');
  await new Docs(byId('docs'), byId('back')).load(post);
}

open();
