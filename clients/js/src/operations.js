// Every GraphQL document that uploads need.

const PROBLEM = 'userErrors { code message field retryable retryAfterMs }';
const TARGET = 'target { method url headers { name value } }';
const SESSION = `fragment Session on Upload {
  id method byteSize partSize partCount bytesConfirmed objectKey
  media { id status }
  parts { number byteSize etag }
  ${TARGET}
}`;

export const CREATE_UPLOADS = `mutation CreateUploads($input: CreateUploadsInput!) {
  createUploads(input: $input) {
    outcomes { upload { ...Session } duplicate { id status } ${PROBLEM} }
    ${PROBLEM}
  }
}
${SESSION}`;

export const UPLOAD = `query Upload($id: ID!) {
  viewer { id }
  upload(id: $id) { ...Session }
}
${SESSION}`;

export const VIEWER = `query Viewer { viewer { id } }`;

export const SIGN_UPLOAD_PARTS = `mutation SignUploadParts($input: SignUploadPartsInput!) {
  signUploadParts(input: $input) { parts { number byteSize ${TARGET} } ${PROBLEM} }
}`;

export const COMPLETE_UPLOAD = `mutation CompleteUpload($input: CompleteUploadInput!) {
  completeUpload(input: $input) { media { id status } ${PROBLEM} }
}`;

export const ABORT_UPLOAD = `mutation AbortUpload($input: AbortUploadInput!) {
  abortUpload(input: $input) { media { id status } ${PROBLEM} }
}`;

export const SIGN_STORAGE_REQUEST = `mutation SignStorageRequest($input: SignStorageRequestInput!) {
  signStorageRequest(input: $input) { ${TARGET} ${PROBLEM} }
}`;

export const UPLOAD_POLICY = `query UploadPolicy($purpose: MediaPurpose!, $network: NetworkQuality!) {
  uploadPolicy(purpose: $purpose, network: $network) {
    maxBytes maxClipBytes maxClipDurationMs maxDimension jpegQuality multipartThreshold
    maxConcurrentUploads maxConcurrentParts retryDelaysMs
  }
}`;
