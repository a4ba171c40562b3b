// A small client of graphql-transport-ws (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md):
// one socket for all subscriptions, opened with the first, closed after the last, opened again when it breaks.

const FATAL = new Set([4400, 4401, 4406, 4409, 4429]);
const LONGEST_PAUSE_MS = 8000;

export class GraphQLSocket {
  #subscriptions = new Map();
  #socket = null;
  #acknowledged = false;
  #failures = 0;
  #lastId = 0;

  // `getToken` is asked again for each connection; `onState` hears 'off', 'connecting', 'on' and 'lost'.
  constructor(url, { getToken, onRefused = () => {}, onState = () => {} }) {
    Object.assign(this, { url, getToken, onRefused, onState });
  }

  // `variables` is a function: after a reconnect it says where to resume. Returns a function that ends it.
  subscribe(query, variables, { next, error, complete }) {
    const id = String(++this.#lastId);
    this.#subscriptions.set(id, { query, variables, next, error, complete });
    if (!this.#socket) this.#connect();
    else if (this.#acknowledged) this.#start(id);
    return () => {
      if (this.#subscriptions.has(id)) this.#send({ id, type: 'complete' });
      this.#end(id);
    };
  }

  #connect() {
    this.onState(this.#failures ? 'lost' : 'connecting');
    const socket = this.#socket = new WebSocket(this.url, 'graphql-transport-ws');
    socket.onopen = async () => {
      try {
        this.#send({ type: 'connection_init', payload: { authorization: `Bearer ${await this.getToken()}` } });
      } catch {
        socket.close();
      }
    };
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  #receive({ type, id, payload }) {
    const subscription = this.#subscriptions.get(id);
    if (type === 'connection_ack') {
      this.#acknowledged = true;
      this.#failures = 0;
      this.onState('on');
      for (const each of this.#subscriptions.keys()) this.#start(each);
    } else if (type === 'ping') {
      this.#send({ type: 'pong' });
    } else if (type === 'next') {
      subscription?.next(payload);
    } else if (type === 'error' || type === 'complete') {
      this.#end(id);
      if (type === 'error') subscription?.error(payload);
      else subscription?.complete();
    }
  }

  #closed(code, reason) {
    this.#socket = null;
    this.#acknowledged = false;
    if (FATAL.has(code)) {
      const ended = [...this.#subscriptions.values()];
      this.#subscriptions.clear();
      for (const each of ended) each.error([{ message: reason || `The connection was closed (${code}).` }]);
    }
    if (!this.#subscriptions.size) return this.onState('off');
    if (code === 4403) this.onRefused();
    this.#failures += 1;
    this.onState('lost');
    const wait = Math.min(250 * 2 ** this.#failures, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
    setTimeout(() => { if (!this.#socket && this.#subscriptions.size) this.#connect(); }, wait);
  }

  #start(id) {
    const { query, variables } = this.#subscriptions.get(id);
    this.#send({ id, type: 'subscribe', payload: { query, variables: variables() } });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #end(id) {
    this.#subscriptions.delete(id);
    if (this.#subscriptions.size || !this.#socket) return;
    // Let go of it first: what is subscribed while it closes gets a socket of its own.
    this.#socket.onclose = null;
    this.#socket.close(1000);
    this.#socket = null;
    this.#acknowledged = false;
    this.onState('off');
  }
}
