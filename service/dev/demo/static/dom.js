// Building elements. Text only ever becomes text: nothing here, or anywhere else, parses HTML.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child != null));
  return made;
}

export function button(text, onclick, className = 'button') {
  return element('button', { type: 'button', className, textContent: text, onclick });
}

// A sentence that says what happened, with a way to try again where that can help.
export function showProblem(place, problem, retry) {
  place.replaceChildren(element('span', { textContent: problem.message }));
  if (problem.retryable && retry) {
    place.append(button('Try again', () => { place.hidden = true; retry(); }));
  }
  place.hidden = false;
}

let clearing;
export function announce(text) {
  const announcer = byId('announcer');
  announcer.textContent = text;
  clearTimeout(clearing);
  clearing = setTimeout(() => { announcer.textContent = ''; }, 5000);
}
