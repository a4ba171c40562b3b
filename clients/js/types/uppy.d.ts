export { uppy5Options } from "./uppy-5.js";
export { uppyOptions } from "./uppy-6.js";
