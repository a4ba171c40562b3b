export type HttpHeader = {
    name: string;
    value: string;
};
export type UploadTarget = {
    method: string;
    url: string;
    headers: HttpHeader[];
};
export type UploadPart = {
    number: number;
    byteSize: number;
    etag: string;
};
export type UploadPartTarget = {
    number: number;
    byteSize: number;
    target: UploadTarget;
};
export type CompletedPart = {
    number: number;
    etag: string;
};
export type MediaReference = {
    id: string;
    status: string;
};
export type UserError = {
    code: string;
    message: string;
    field?: string[] | null;
    retryable: boolean;
    retryAfterMs?: number | null;
};
/**
 * an upload that the service has planned
 */
export type Session = {
    id: string;
    media: MediaReference;
    method: "SINGLE" | "MULTIPART";
    byteSize: number;
    /**
     * SINGLE only, and only until its bytes are there
     */
    target: UploadTarget | null;
    partSize: number | null;
    partCount: number | null;
    /**
     * what storage has confirmed
     */
    parts: UploadPart[];
    bytesConfirmed: number;
    objectKey: string;
};
/**
 * exactly one of the three says what became of a file
 */
export type Outcome = {
    upload: Session | null;
    duplicate: MediaReference | null;
    userErrors: UserError[];
};
export type UploadPolicy = {
    /**
     * of a picture
     */
    maxBytes: number;
    /**
     * 0 where the purpose takes no clips
     */
    maxClipBytes: number;
    /**
     * likewise
     */
    maxClipDurationMs: number;
    /**
     * pixels of the longer side
     */
    maxDimension: number;
    /**
     * 0 to 100
     */
    jpegQuality: number;
    multipartThreshold: number;
    maxConcurrentUploads: number;
    maxConcurrentParts: number;
    retryDelaysMs: number[];
};
/**
 * UploadFileInput of the schema
 */
export type FileDescription = {
    contentType: string;
    byteSize: number;
    /**
     * lower-case hex
     */
    sha256?: string | null | undefined;
    fileName?: string | null | undefined;
    title?: string | null | undefined;
    altText?: string | null | undefined;
    tags?: string[] | undefined;
    albumIds?: string[] | undefined;
    focus?: {
        x: number;
        y: number;
        width: number;
        height: number;
    } | null | undefined;
    location?: {
        latitude: number;
        longitude: number;
    } | null | undefined;
    capturedAt?: string | null | undefined;
    /**
     * of the file's own, where the purpose allows it
     */
    keepMetadata?: ("CAPTURED_AT" | "CAMERA" | "LOCATION")[] | undefined;
};
/**
 * what the files of one `add` share: CreateUploadsInput without its key and files
 */
export type BatchDetails = {
    purpose: string;
    captureId?: string | null | undefined;
    subject?: {
        type: string;
        id: string;
    } | null | undefined;
    visibility?: "PUBLIC" | "PRIVATE" | undefined;
    client?: Record<string, string> | undefined;
};
export type CreateUploadsInput = BatchDetails & {
    idempotencyKey: string;
    files: FileDescription[];
};
/**
 * what Uppy 6 wants signed
 */
export type StorageRequest = {
    uploadId: string;
    method: "GET" | "PUT" | "POST" | "DELETE";
    key: string;
    storageUploadId?: string | undefined;
    partNumber?: number | undefined;
    contentType?: string | undefined;
};
