// The shapes that the GraphQL API answers with, as far as uploads need them. See schema/schema.graphql.

/**
 * @typedef {{ name: string, value: string }} HttpHeader
 * @typedef {{ method: string, url: string, headers: HttpHeader[] }} UploadTarget
 * @typedef {{ number: number, byteSize: number, etag: string }} UploadPart
 * @typedef {{ number: number, byteSize: number, target: UploadTarget }} UploadPartTarget
 * @typedef {{ number: number, etag: string }} CompletedPart
 * @typedef {{ id: string, status: string }} MediaReference
 * @typedef {{ code: string, message: string, field?: string[] | null, retryable: boolean, retryAfterMs?: number | null }} UserError
 *
 * @typedef {object} Session an upload that the service has planned
 * @property {string} id
 * @property {MediaReference} media
 * @property {'SINGLE' | 'MULTIPART'} method
 * @property {number} byteSize
 * @property {UploadTarget | null} target SINGLE only, and only until its bytes are there
 * @property {number | null} partSize
 * @property {number | null} partCount
 * @property {UploadPart[]} parts what storage has confirmed
 * @property {number} bytesConfirmed
 * @property {string} objectKey
 *
 * @typedef {object} Outcome exactly one of the three says what became of a file
 * @property {Session | null} upload
 * @property {MediaReference | null} duplicate
 * @property {UserError[]} userErrors
 *
 * @typedef {object} UploadPolicy
 * @property {number} maxBytes of a picture
 * @property {number} maxClipBytes 0 where the purpose takes no clips
 * @property {number} maxClipDurationMs likewise
 * @property {number} maxDimension pixels of the longer side
 * @property {number} jpegQuality 0 to 100
 * @property {number} multipartThreshold
 * @property {number} maxConcurrentUploads
 * @property {number} maxConcurrentParts
 * @property {number[]} retryDelaysMs
 *
 * @typedef {object} FileDescription UploadFileInput of the schema
 * @property {string} contentType
 * @property {number} byteSize
 * @property {string | null} [sha256] lower-case hex
 * @property {string | null} [fileName]
 * @property {string | null} [title]
 * @property {string | null} [altText]
 * @property {string[]} [tags]
 * @property {string[]} [albumIds]
 * @property {{ x: number, y: number, width: number, height: number } | null} [focus]
 * @property {{ latitude: number, longitude: number } | null} [location]
 * @property {string | null} [capturedAt]
 * @property {('CAPTURED_AT' | 'CAMERA' | 'LOCATION')[]} [keepMetadata] of the file's own, where the purpose allows it
 *
 * @typedef {object} BatchDetails what the files of one `add` share: CreateUploadsInput without its key and files
 * @property {string} purpose
 * @property {string | null} [captureId]
 * @property {{ type: string, id: string } | null} [subject]
 * @property {'PUBLIC' | 'PRIVATE'} [visibility]
 * @property {Record<string, string>} [client]
 *
 * @typedef {BatchDetails & { idempotencyKey: string, files: FileDescription[] }} CreateUploadsInput
 *
 * @typedef {object} StorageRequest what Uppy 6 wants signed
 * @property {string} uploadId
 * @property {'GET' | 'PUT' | 'POST' | 'DELETE'} method
 * @property {string} key
 * @property {string} [storageUploadId]
 * @property {number} [partNumber]
 * @property {string} [contentType]
 */

export {};
