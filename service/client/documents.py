"""The GraphQL that this client speaks."""

from __future__ import annotations

from typing import Final

_USER_ERROR: Final = "userErrors { code message field retryable retryAfterMs }"
_RENDITION: Final = "name format width height byteSize url urlExpiresAt"
_SESSION: Final = "id media { id } target { method url headers { name value } }"

CREATE_UPLOADS: Final = f"""mutation CreateUploads($input: CreateUploadsInput!) {{
  createUploads(input: $input) {{ outcomes {{ upload {{ {_SESSION} }} {_USER_ERROR} }} {_USER_ERROR} }}
}}"""

COMPLETE_UPLOAD: Final = f"""mutation CompleteUpload($input: CompleteUploadInput!) {{
  completeUpload(input: $input) {{ {_USER_ERROR} }}
}}"""

MEDIA_STATUS: Final = f"""subscription MediaStatus($ids: [ID!]!, $after: String) {{
  mediaStatus(ids: $ids, after: $after) {{
    status sequence cursor progress
    media {{ id failure {{ code message retryable }} renditions {{ {_RENDITION} }} }}
  }}
}}"""

FEED: Final = f"""query Feed($purpose: MediaPurpose!, $first: Int!, $after: String, $hint: DisplayHint) {{
  feed(purpose: $purpose, first: $first, after: $after, hint: $hint) {{
    nodes {{ id createdAt ownerId title width height display {{ {_RENDITION} }} }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}"""
