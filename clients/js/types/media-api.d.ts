/** @import * as Types from './types.js' */
export class MediaApi {
    /**
     * @param {string} url the GraphQL address
     * @param {ConstructorParameters<typeof GraphQLEndpoint>[1] & { owner?: string }} [options] `owner`: the id of the
     *   viewer that all uploads must belong to, whoever signs in on this page later
     */
    constructor(url: string, { owner, ...options }?: ConstructorParameters<typeof GraphQLEndpoint>[1] & {
        owner?: string;
    });
    /**
     * An outcome for each file, in their order. Asked for an `owner`, it first sees whether that is who has signed in.
     * @param {Types.CreateUploadsInput} input
     * @param {AbortSignal} [signal]
     * @returns {Promise<Types.Outcome[]>}
     */
    createUploads(input: Types.CreateUploadsInput, signal?: AbortSignal): Promise<Types.Outcome[]>;
    /**
     * What the service and storage know of an upload; null if that is nothing. To those who have not signed in, or not
     * as its owner, every upload is unknown: that is a Problem (UNAUTHENTICATED, OTHER_USER).
     * @param {string} id
     * @param {AbortSignal} [signal]
     * @returns {Promise<Types.Session | null>}
     */
    upload(id: string, signal?: AbortSignal): Promise<Types.Session | null>;
    /**
     * At most 100 parts. `partChecksums` are SHA-256 in hex; storage refuses other bytes.
     * @param {{ uploadId: string, partNumbers: number[], partChecksums?: { number: number, sha256: string }[] }} input
     * @param {AbortSignal} [signal]
     * @returns {Promise<Types.UploadPartTarget[]>}
     */
    signUploadParts(input: {
        uploadId: string;
        partNumbers: number[];
        partChecksums?: {
            number: number;
            sha256: string;
        }[];
    }, signal?: AbortSignal): Promise<Types.UploadPartTarget[]>;
    /**
     * @param {{ idempotencyKey: string, uploadId: string, parts?: Types.CompletedPart[] }} input
     * @param {AbortSignal} [signal]
     * @returns {Promise<Types.MediaReference>}
     */
    completeUpload(input: {
        idempotencyKey: string;
        uploadId: string;
        parts?: Types.CompletedPart[];
    }, signal?: AbortSignal): Promise<Types.MediaReference>;
    /**
     * @param {{ idempotencyKey: string, uploadId: string }} input
     * @param {AbortSignal} [signal]
     * @returns {Promise<Types.MediaReference>}
     */
    abortUpload(input: {
        idempotencyKey: string;
        uploadId: string;
    }, signal?: AbortSignal): Promise<Types.MediaReference>;
    /**
     * @param {Types.StorageRequest} input
     * @param {AbortSignal} [signal]
     * @returns {Promise<Types.UploadTarget>}
     */
    signStorageRequest(input: Types.StorageRequest, signal?: AbortSignal): Promise<Types.UploadTarget>;
    /**
     * @param {string} purpose
     * @param {string} network a NetworkQuality of the schema
     * @param {AbortSignal} [signal]
     * @returns {Promise<Types.UploadPolicy>}
     */
    uploadPolicy(purpose: string, network: string, signal?: AbortSignal): Promise<Types.UploadPolicy>;
    #private;
}
import type * as Types from './types.js';
import { GraphQLEndpoint } from './graphql.js';
