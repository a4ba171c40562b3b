/** @param {UploadRecord} record */
export function fileNeeded({ name }: UploadRecord): Problem;
/** As many as the service takes in one call. */
export const MOST_FILES: 20;
/**
 * @typedef {object} Planning
 * @property {MediaApi} api
 * @property {{ current: UploadStore }} store
 * @property {Policies} policies
 * @property {Patience} patience
 * @property {number} digestUpTo bytes
 * @property {boolean} resize
 */
export class Batch {
    /**
     * @param {UploadRecord[]} records of one group: either all without a batch, or all of the same
     * @param {Planning} planning
     */
    constructor(records: UploadRecord[], planning: Planning);
    /** Whether the service may know of these files. */
    get isAsked(): boolean;
    /**
     * What the service made of one file. The first to ask asks for all.
     * @param {UploadRecord} record
     * @returns {Promise<Outcome>}
     */
    outcome(record: UploadRecord): Promise<Outcome>;
    /** Ask again the next time, in the same words. */
    renew(): void;
    #private;
}
export type Planning = {
    api: MediaApi;
    store: {
        current: UploadStore;
    };
    policies: Policies;
    patience: Patience;
    /**
     * bytes
     */
    digestUpTo: number;
    resize: boolean;
};
import type { UploadRecord } from './upload-store.js';
import { Problem } from './problem.js';
import type { Outcome } from './types.js';
import type { MediaApi } from './media-api.js';
import type { UploadStore } from './upload-store.js';
import type { Policies } from './policies.js';
import type { Patience } from './retrying.js';
