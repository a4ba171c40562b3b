/**
 * The content type to announce a file with: what its bytes say; else its own type, or what its name stands for.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<string>}
 */
export function contentTypeOf(file: Blob, name: string): Promise<string>;
