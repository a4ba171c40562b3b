// What both pages have in common: a file input, and Uppy on `window` for the tests to press its buttons.

import { MediaApi } from '../../../clients/js/src/index.js';

let token;

async function getToken(isAgain) {
  if (isAgain) token = undefined;
  token ??= fetch('/demo/session', { method: 'POST' }).then((answer) => answer.json());
  return (await token).token;
}

export function start(Uppy, AwsS3, optionsOf) {
  const uppy = new Uppy();
  const api = new MediaApi('/graphql', { getToken });
  uppy.use(AwsS3, optionsOf(uppy, api, { purpose: 'COMMUNITY', describe: ({ name }) => ({ title: name }) }));
  document.querySelector('input').onchange = ({ target }) => {
    for (const file of target.files) uppy.addFile({ name: file.name, type: file.type, data: file });
  };
  Object.assign(window, { uppy });
}
