"""The GraphQL that this client speaks."""

from __future__ import annotations

from typing import Final

_USER_ERROR: Final = "userErrors { code message field retryable retryAfterMs }"
_RENDITION: Final = "name format width height byteSize url urlExpiresAt"
_TARGET: Final = "target { method url headers { name value } }"
_SESSION: Final = f"id media {{ id status }} method byteSize partSize {_TARGET}"
_OWNED: Final = "id status title"
_FOLLOWED: Final = f"id renditionsComplete failure {{ code message retryable }} renditions {{ {_RENDITION} }}"

CREATE_UPLOADS: Final = f"""mutation CreateUploads($input: CreateUploadsInput!) {{
  createUploads(input: $input) {{
    outcomes {{ upload {{ {_SESSION} }} duplicate {{ {_OWNED} }} {_USER_ERROR} }}
    {_USER_ERROR}
  }}
}}"""

UPLOAD: Final = f"""query Upload($id: ID!) {{
  upload(id: $id) {{ {_SESSION} bytesConfirmed parts {{ number byteSize etag }} }}
}}"""

SIGN_UPLOAD_PARTS: Final = f"""mutation SignUploadParts($input: SignUploadPartsInput!) {{
  signUploadParts(input: $input) {{ parts {{ number {_TARGET} }} {_USER_ERROR} }}
}}"""

COMPLETE_UPLOAD: Final = f"""mutation CompleteUpload($input: CompleteUploadInput!) {{
  completeUpload(input: $input) {{ {_USER_ERROR} }}
}}"""

ABORT_UPLOAD: Final = f"""mutation AbortUpload($input: AbortUploadInput!) {{
  abortUpload(input: $input) {{ {_USER_ERROR} }}
}}"""

FIND_DUPLICATES: Final = f"""query FindDuplicates($sha256: [SHA256!]!) {{
  findDuplicates(sha256: $sha256) {{ sha256 media {{ {_OWNED} }} }}
}}"""

UPLOAD_POLICY: Final = """query UploadPolicy($purpose: MediaPurpose!, $network: NetworkQuality!) {
  uploadPolicy(purpose: $purpose, network: $network) {
    contentTypes maxBytes maxClipBytes maxClipDurationMs maxDimension jpegQuality multipartThreshold partSize
    maxConcurrentUploads maxConcurrentParts retryDelaysMs
  }
}"""

MEDIA_STATUS: Final = f"""subscription MediaStatus($ids: [ID!]!, $after: String) {{
  mediaStatus(ids: $ids, after: $after) {{
    status sequence cursor progress
    media {{ {_FOLLOWED} }}
  }}
}}"""

FOLLOWED_MEDIA: Final = f"""query FollowedMedia($ids: [ID!]!) {{
  nodes(ids: $ids) {{ ... on Media {{ {_FOLLOWED} }} }}
}}"""

FEED: Final = f"""query Feed($purpose: MediaPurpose!, $first: Int!, $after: String, $hint: DisplayHint) {{
  feed(purpose: $purpose, first: $first, after: $after, hint: $hint) {{
    nodes {{ id kind createdAt ownerId title width height durationMs display {{ {_RENDITION} }} }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}"""
