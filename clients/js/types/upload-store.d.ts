/** @implements {UploadStore} */
export class IndexedDbStore implements UploadStore {
    /**
     * @param {object} options
     * @param {string} options.owner the id of the viewer: each has a database
     * @param {string} [options.name] what the databases of this page are called
     * @param {boolean} [options.keepsFiles] false: after a reload, uploads wait until their file is chosen again
     */
    constructor({ owner, name, keepsFiles }: {
        owner: string;
        name?: string | undefined;
        keepsFiles?: boolean | undefined;
    });
    /** @param {UploadRecord[]} records */
    put(records: UploadRecord[]): Promise<void>;
    /** @param {string} id */
    get(id: string): Promise<any>;
    all(): Promise<any[]>;
    /** @param {string} id */
    remove(id: string): Promise<void>;
    #private;
}
/** @implements {UploadStore} */
export class MemoryStore implements UploadStore {
    /** @param {UploadRecord[]} records */
    put(records: UploadRecord[]): Promise<void>;
    /** @param {string} id */
    get(id: string): Promise<UploadRecord | undefined>;
    all(): Promise<UploadRecord[]>;
    /** @param {string} id */
    remove(id: string): Promise<void>;
    #private;
}
/**
 * what people say about a file
 */
export type Description = Omit<FileDescription, "contentType" | "byteSize" | "sha256">;
export type UploadRecord = {
    /**
     * ours, not the service's
     */
    id: string;
    /**
     * the id of the viewer who added it
     */
    owner: string;
    /**
     * the `add` that it came with
     */
    group: string;
    /**
     * milliseconds since 1970
     */
    createdAt: number;
    /**
     * its place in the group
     */
    index: number;
    name: string;
    size: number;
    /**
     * empty until its bytes were looked at
     */
    contentType: string;
    /**
     * null where it could not, or should not, be kept
     */
    file: Blob | null;
    description: Description;
    details: BatchDetails;
    isPaused: boolean;
    /**
     * the service has still to be told
     */
    isCancelled: boolean;
    /**
     * written before the service is asked, and
     * asked again in the same words after a reload
     */
    batch: {
        input: CreateUploadsInput;
        index: number;
    } | null;
    /**
     * the service's, once it has answered
     */
    uploadId: string | null;
};
export type UploadStore = {
    /**
     * all of them or none
     */
    put: (records: UploadRecord[]) => Promise<void>;
    get: (id: string) => Promise<UploadRecord | undefined>;
    /**
     * the oldest first
     */
    all: () => Promise<UploadRecord[]>;
    remove: (id: string) => Promise<void>;
};
import type { FileDescription } from './types.js';
import type { BatchDetails } from './types.js';
import type { CreateUploadsInput } from './types.js';
