// The service's upload operations as calls, one request each. Who calls decides whether to try again.

import { GraphQLEndpoint } from './graphql.js';
import * as operations from './operations.js';
import { Problem } from './problem.js';

/** @import * as Types from './types.js' */

export class MediaApi {
  #endpoint;
  #owner;

  /**
   * @param {string} url the GraphQL address
   * @param {ConstructorParameters<typeof GraphQLEndpoint>[1] & { owner?: string }} [options] `owner`: the id of the
   *   viewer that all uploads must belong to, whoever signs in on this page later
   */
  constructor(url, { owner, ...options } = {}) {
    this.#endpoint = new GraphQLEndpoint(url, options);
    this.#owner = owner;
  }

  /**
   * An outcome for each file, in their order. Asked for an `owner`, it first sees whether that is who has signed in.
   * @param {Types.CreateUploadsInput} input
   * @param {AbortSignal} [signal]
   * @returns {Promise<Types.Outcome[]>}
   */
  async createUploads(input, signal) {
    if (this.#owner) this.#recognise((await this.#endpoint.run(operations.VIEWER, {}, signal)).viewer);
    return (await this.#endpoint.mutate(operations.CREATE_UPLOADS, input, signal)).outcomes;
  }

  /**
   * What the service and storage know of an upload; null if that is nothing. To those who have not signed in, or not
   * as its owner, every upload is unknown: that is a Problem (UNAUTHENTICATED, OTHER_USER).
   * @param {string} id
   * @param {AbortSignal} [signal]
   * @returns {Promise<Types.Session | null>}
   */
  async upload(id, signal) {
    const { viewer, upload } = await this.#endpoint.run(operations.UPLOAD, { id }, signal);
    this.#recognise(viewer);
    return upload;
  }

  /**
   * At most 100 parts. `partChecksums` are SHA-256 in hex; storage refuses other bytes.
   * @param {{ uploadId: string, partNumbers: number[], partChecksums?: { number: number, sha256: string }[] }} input
   * @param {AbortSignal} [signal]
   * @returns {Promise<Types.UploadPartTarget[]>}
   */
  async signUploadParts(input, signal) {
    return (await this.#endpoint.mutate(operations.SIGN_UPLOAD_PARTS, input, signal)).parts;
  }

  /**
   * @param {{ idempotencyKey: string, uploadId: string, parts?: Types.CompletedPart[] }} input
   * @param {AbortSignal} [signal]
   * @returns {Promise<Types.MediaReference>}
   */
  async completeUpload(input, signal) {
    return (await this.#endpoint.mutate(operations.COMPLETE_UPLOAD, input, signal)).media;
  }

  /**
   * @param {{ idempotencyKey: string, uploadId: string }} input
   * @param {AbortSignal} [signal]
   * @returns {Promise<Types.MediaReference>}
   */
  async abortUpload(input, signal) {
    return (await this.#endpoint.mutate(operations.ABORT_UPLOAD, input, signal)).media;
  }

  /**
   * @param {Types.StorageRequest} input
   * @param {AbortSignal} [signal]
   * @returns {Promise<Types.UploadTarget>}
   */
  async signStorageRequest(input, signal) {
    return (await this.#endpoint.mutate(operations.SIGN_STORAGE_REQUEST, input, signal)).target;
  }

  /**
   * @param {string} purpose
   * @param {string} network a NetworkQuality of the schema
   * @param {AbortSignal} [signal]
   * @returns {Promise<Types.UploadPolicy>}
   */
  async uploadPolicy(purpose, network, signal) {
    return (await this.#endpoint.run(operations.UPLOAD_POLICY, { purpose, network }, signal)).uploadPolicy;
  }

  /** @param {{ id: string } | null} viewer */
  #recognise(viewer) {
    if (!viewer) throw new Problem('Sign in to go on.', { code: 'UNAUTHENTICATED' });
    if (this.#owner && viewer.id !== this.#owner) {
      throw new Problem('Somebody else has signed in. Sign in as before to go on.', { code: 'OTHER_USER' });
    }
  }
}
