export function send(target: UploadTarget, body: Blob, options: SendOptions): Promise<StorageAnswer>;
export type SendOptions = {
    signal: AbortSignal;
    /**
     * hears how many bytes have left
     */
    onProgress: (bytes: number) => void;
};
/**
 * `etag` without its quotes; `code` of a
 *  refusal: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
export type StorageAnswer = {
    status: number;
    etag: string | null;
    code?: string;
};
export type Send = (target: UploadTarget, body: Blob, options: SendOptions) => Promise<StorageAnswer>;
import type { UploadTarget } from './types.js';
