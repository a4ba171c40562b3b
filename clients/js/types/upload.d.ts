/** Dispatches `change` whenever something below has changed. */
export class Upload extends EventTarget {
    /**
     * @param {UploadRecord} record
     * @param {Batch} batch
     * @param {Journeys} journeys
     */
    constructor(record: UploadRecord, batch: Batch, journeys: Journeys);
    /** @type {UploadState} */
    state: UploadState;
    /** Bytes of the file that have left, those that storage has confirmed before a reload among them. */
    bytesSent: number;
    /** @type {Problem | undefined} why it has failed, or has paused by itself: the sign-in does not hold */
    problem: Problem | undefined;
    /** @type {MediaReference | undefined} what the file has become, or already was */
    media: MediaReference | undefined;
    /** Resolves when nothing more will be done: sent, a duplicate, cancelled, or failed for good. */
    finished: Promise<void>;
    get id(): string;
    get name(): string;
    get size(): number;
    get file(): Blob | null;
    /** Whether nothing is left to retry or to cancel. */
    get isOver(): boolean;
    /** Whether it has paused by itself, until somebody has signed in. */
    get isHeld(): boolean;
    /** Begins, or goes on after a failure. */
    start(): void;
    /** Stops sending; parts that storage has confirmed stay there, and the state survives a reload. */
    pause(): Promise<void>;
    /** Goes on after `pause`, or once somebody has signed in. */
    resume(): Promise<void>;
    /** Tries again after a failure. */
    retry(): void;
    /**
     * Gives the file back to an upload that lacks it (problem FILE_NEEDED) after a reload.
     * @param {File} file
     */
    provide(file: File): void;
    /** Gives up, and has the service and storage forget what was sent. */
    cancel(): Promise<void>;
    /** Tells the service that nothing more will come, unless the same file is on its way for another upload too. */
    release(): Promise<void>;
    #private;
}
export type UploadState = "waiting" | "sending" | "paused" | "sent" | "duplicate" | "failed" | "cancelled";
export type Journeys = Planning & {
    slots: Slots;
    exclusion: Exclusion;
    send: Send;
    startOver: (record: UploadRecord) => Batch;
};
import { Problem } from './problem.js';
import type { MediaReference } from './types.js';
import type { UploadRecord } from './upload-store.js';
import type { Batch } from './batch.js';
import type { Planning } from './batch.js';
import type { Slots } from './slots.js';
import type { Exclusion } from './exclusion.js';
import type { Send } from './storage-request.js';
