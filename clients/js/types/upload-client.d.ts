/**
 * @typedef {object} ClientOptions
 * @property {string} url the GraphQL address
 * @property {string} owner the id of the viewer: what somebody else left unfinished here is neither seen nor sent
 * @property {GetToken} [getToken] gives the bearer token; asked with `true` after one was refused
 * @property {UploadStore} [store] what survives a reload; by default a database that keeps the files too
 * @property {boolean} [resize] send JPEGs no larger than the service's policy shows them; originals are then lost
 * @property {number} [digestUpTo] bytes up to which files are recognised that were sent before: such a file is read
 *   into memory once, to compute its SHA-256. What is sent in parts has a checksum for each part anyway
 * @property {typeof globalThis.fetch} [fetch]
 * @property {Send} [send]
 * @property {Connectivity} [connectivity]
 * @property {(milliseconds: number, signal?: AbortSignal) => Promise<void>} [sleep]
 *
 * @typedef {object} AddOptions
 * @property {(file: File, index: number) => Description & { contentType?: string }} [describe] what is known of each
 * @property {AbortSignal} [signal] cancels these uploads
 */
/** An upload that was added, or found again after a reload. */
export class UploadEvent extends Event {
    /** @param {Upload} upload */
    constructor(upload: Upload);
    upload: Upload;
}
/** Dispatches an UploadEvent (`upload`) for each upload before it starts. */
export class UploadClient extends EventTarget {
    /** @param {ClientOptions} options */
    constructor(options: ClientOptions);
    /** The service's calls, for what a page does beside. */
    api: MediaApi;
    /**
     * @overload
     * @param {'upload'} type
     * @param {(event: UploadEvent) => void} listener
     * @param {AddEventListenerOptions | boolean} [options]
     * @returns {void}
     */
    override addEventListener(type: "upload", listener: (event: UploadEvent) => void, options?: boolean | AddEventListenerOptions | undefined): void;
    /**
     * @overload
     * @param {string} type
     * @param {EventListenerOrEventListenerObject | null} listener
     * @param {AddEventListenerOptions | boolean} [options]
     * @returns {void}
     */
    override addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions | undefined): void;
    /** Those that are not over. */
    get uploads(): Upload[];
    /**
     * Uploads files, each on its own: one that is refused holds up no other.
     * @param {Iterable<File>} files
     * @param {BatchDetails & AddOptions} options
     * @returns {Promise<Upload[]>} once they would survive a reload
     */
    add(files: Iterable<File>, { describe, signal, ...details }: BatchDetails & AddOptions): Promise<Upload[]>;
    /**
     * Goes on with what an earlier page left unfinished, and with what paused by itself until somebody has signed in.
     * What another tab is busy with follows when that is closed. Resolves when everything has been looked through.
     */
    resume(): Promise<void>;
    #private;
}
export type ClientOptions = {
    /**
     * the GraphQL address
     */
    url: string;
    /**
     * the id of the viewer: what somebody else left unfinished here is neither seen nor sent
     */
    owner: string;
    /**
     * gives the bearer token; asked with `true` after one was refused
     */
    getToken?: GetToken | undefined;
    /**
     * what survives a reload; by default a database that keeps the files too
     */
    store?: UploadStore | undefined;
    /**
     * send JPEGs no larger than the service's policy shows them; originals are then lost
     */
    resize?: boolean | undefined;
    /**
     * bytes up to which files are recognised that were sent before: such a file is read
     * into memory once, to compute its SHA-256. What is sent in parts has a checksum for each part anyway
     */
    digestUpTo?: number | undefined;
    fetch?: typeof fetch | undefined;
    send?: Send | undefined;
    connectivity?: Connectivity | undefined;
    sleep?: ((milliseconds: number, signal?: AbortSignal) => Promise<void>) | undefined;
};
export type AddOptions = {
    /**
     * what is known of each
     */
    describe?: ((file: File, index: number) => Description & {
        contentType?: string;
    }) | undefined;
    /**
     * cancels these uploads
     */
    signal?: AbortSignal | undefined;
};
import { Upload } from './upload.js';
import { MediaApi } from './media-api.js';
import type { BatchDetails } from './types.js';
import type { GetToken } from './graphql.js';
import type { UploadStore } from './upload-store.js';
import type { Send } from './storage-request.js';
import type { Connectivity } from './connectivity.js';
import type { Description } from './upload-store.js';
