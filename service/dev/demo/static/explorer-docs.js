// The schema, read by introspection, as pages that lead to one another.

import { element } from '/demo/dom.js';

const INTROSPECTION = `query Introspection {
  __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    types {
      kind name description
      fields { name description args { ...Value } type { ...Reference } }
      inputFields { ...Value }
      enumValues { name description }
      possibleTypes { name }
    }
  }
}
fragment Value on __InputValue { name description defaultValue type { ...Reference } }
fragment Reference on __Type {
  kind name ofType { kind name ofType { kind name ofType { kind name } } }
}`;

export class Docs {
  #types = new Map();
  #trail = [];

  constructor(place, back) {
    Object.assign(this, { place, back });
    back.onclick = () => { this.#trail.pop(); this.#show(); };
  }

  // `post` sends a GraphQL request and resolves to `{answer}`.
  async load(post) {
    const { answer } = await post({ query: INTROSPECTION }).catch((error) => ({ answer: { errors: [error] } }));
    if (!answer.data) {
      this.place.textContent = `The schema cannot be read: ${answer.errors?.[0]?.message}`;
      return;
    }
    const { types, ...roots } = answer.data.__schema;
    for (const type of types) this.#types.set(type.name, type);
    this.roots = Object.values(roots).filter(Boolean).map(({ name }) => name);
    this.#show();
  }

  #open(name) {
    this.#trail.push(name);
    this.#show();
  }

  #show() {
    const name = this.#trail.at(-1);
    this.back.hidden = !name;
    this.place.replaceChildren(...(name ? this.#page(this.#types.get(name)) : this.#home()));
    this.place.scrollTop = 0;
  }

  #home() {
    const named = [...this.#types.keys()].filter((name) => !name.startsWith('__') && !this.roots.includes(name)).sort();
    const links = (names) => element('ul', {}, ...names.map((name) => element('li', {}, element('code', {}, this.#link(name)))));
    return [element('h2', { textContent: 'Operations' }), links(this.roots),
      element('h2', { textContent: 'Types' }), links(named)];
  }

  #page({ kind, name, description, fields, inputFields, enumValues, possibleTypes }) {
    const entries = [
      ...(fields ?? inputFields ?? []).map((field) => this.#entry(this.#signature(field), field)),
      ...(enumValues ?? []).map((value) => this.#entry([value.name], value)),
      ...(possibleTypes ?? []).map((type) => this.#entry([this.#link(type.name)], {})),
    ];
    return [
      element('h2', { textContent: `${name} (${kind.toLowerCase().replace('_', ' ')})` }),
      element('p', { textContent: description ?? '' }),
      element('ul', {}, ...entries),
    ];
  }

  #entry(code, { description }) {
    return element('li', {}, element('code', {}, ...code),
      description ? element('p', { textContent: description }) : null);
  }

  #signature({ name, args = [], type, defaultValue }) {
    const given = args.flatMap((arg, index) => [index ? ', ' : '', ...this.#signature(arg)]);
    const fallback = defaultValue == null ? '' : ` = ${defaultValue}`;
    return [name, ...(given.length ? ['(', ...given, ')'] : []), ': ', ...this.#reference(type), fallback];
  }

  #reference({ kind, name, ofType }) {
    if (kind === 'NON_NULL') return [...this.#reference(ofType), '!'];
    if (kind === 'LIST') return ['[', ...this.#reference(ofType), ']'];
    return [this.#link(name)];
  }

  #link(name) {
    return element('button', { type: 'button', textContent: name, onclick: () => this.#open(name) });
  }
}
