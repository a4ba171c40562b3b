"""What the fields of this service's schema weigh beyond one each: long lists, long values, questions to storage.

One unit stands for up to about 500 bytes of an answer, and for some 10 microseconds of the event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from service.models import MediaFormat, MediaKind, MetadataField, RenditionName
from service.part_plan import MAX_PARTS
from service.policies import CLIP_TYPES, IMAGE_TYPES, POLICIES, PurposePolicy


@dataclass(frozen=True, slots=True)
class ListSize:
    """How many items a list may have that has no page size."""

    items: int
    per_value: Mapping[str, int] = field(default_factory=dict)


def _renditions_of(policy: PurposePolicy, kind: MediaKind) -> list[tuple[RenditionName, MediaFormat]]:
    is_picture = kind is MediaKind.IMAGE
    return [
        (rendition.name, format_)
        for rendition in policy.renditions
        if kind in rendition.kinds or (rendition.animated and is_picture)
        for format_ in rendition.formats
    ]


def _size_of_renditions() -> ListSize:
    """Of the purpose and kind that have the most."""
    possible = [_renditions_of(policy, kind) for policy in POLICIES.values() for kind in MediaKind]
    names, formats = (max(max(Counter(pair[i] for pair in each).values()) for each in possible) for i in (0, 1))
    return ListSize(max(map(len, possible)), {"names": names, "formats": formats})


# Fields that are wrong in one input, and the steps of the path to one.
_USER_ERRORS, _PATH = ListSize(5), ListSize(4)
# Of a connection: its page size is counted already.
_OF_PAGE: Final = ListSize(1)

LIST_SIZES: Final[Mapping[tuple[str, str], ListSize]] = MappingProxyType(
    {
        ("AnnotationConnection", "edges"): _OF_PAGE,
        ("AnnotationConnection", "nodes"): _OF_PAGE,
        ("MediaConnection", "edges"): _OF_PAGE,
        ("MediaConnection", "nodes"): _OF_PAGE,
        ("Media", "renditions"): _size_of_renditions(),
        # Every status once, and a failure that was retried.
        ("Media", "statusHistory"): ListSize(10),
        # As many as service/stores/moderation.py keeps.
        ("Media", "moderation"): ListSize(20),
        # As many as service/upload_request.py takes.
        ("Media", "tags"): ListSize(30),
        ("Media", "albumIds"): ListSize(20),
        # As many as service/embedding_request.py takes.
        ("Media", "embeddings"): ListSize(10, {"models": 1}),
        # Ten numbers weigh as one.
        ("Embedding", "vector"): ListSize(410),
        ("DeleteEmbeddingsPayload", "deletedModels"): ListSize(10),
        ("CreateUploadsPayload", "outcomes"): ListSize(20),
        ("DeleteMediaPayload", "deletions"): ListSize(100),
        # As many as service/annotation_request.py takes. They say what the request said, which is bounded by itself, so
        # that two weigh as one; and an error of each of a thousand ids is a short one.
        ("AnnotateMediaPayload", "annotations"): ListSize(500),
        ("DeleteAnnotationsPayload", "deletedIds"): ListSize(1_000),
        ("DeleteAnnotationsPayload", "userErrors"): ListSize(500),
        ("SignUploadPartsPayload", "parts"): ListSize(100),
        # Of three short fields each, so that ten weigh as one.
        ("Upload", "parts"): ListSize(MAX_PARTS // 10),
        ("UploadTarget", "headers"): ListSize(8),
        ("UploadPolicy", "contentTypes"): ListSize(len(IMAGE_TYPES) + len(CLIP_TYPES)),
        ("UploadPolicy", "metadata"): ListSize(len(MetadataField)),
        ("UploadPolicy", "retryDelaysMs"): ListSize(5),
        ("Viewer", "roles"): ListSize(5),
        ("LabelCounts", "labels"): _OF_PAGE,
        ("UserError", "field"): _PATH,
        **{
            (payload, "userErrors"): _USER_ERRORS
            for payload in (
                "AbortUploadPayload",
                "AnnotateMediaPayload",
                "CompleteUploadPayload",
                "CreateUploadsPayload",
                "DeleteEmbeddingsPayload",
                "DeleteMediaPayload",
                "EmbedMediaPayload",
                "ModerateMediaPayload",
                "RetryProcessingPayload",
                "SignStorageRequestPayload",
                "SignUploadPartsPayload",
                "UpdateMediaPayload",
                "UploadOutcome",
            )
        },
    }
)  # fmt: skip

# Such a question takes a request to object storage.
_QUESTION: Final = 200

# What a field weighs more than others of its kind.
SURCHARGES: Final[Mapping[tuple[str, str], int]] = MappingProxyType(
    {
        ("Upload", "parts"): _QUESTION,
        ("Upload", "bytesConfirmed"): _QUESTION,
        # Compares every vector of a model.
        ("Query", "nearestMedia"): 1_000,
        ("Mutation", "completeUpload"): _QUESTION,
        ("Mutation", "abortUpload"): _QUESTION,
        ("Mutation", "signUploadParts"): _QUESTION,
        ("Mutation", "signStorageRequest"): _QUESTION,
        # Looks, writes under an idempotency key, and what goes on record.
        ("Mutation", "createUploads"): _QUESTION,
        ("Mutation", "deleteMedia"): _QUESTION,
        ("Mutation", "annotateMedia"): _QUESTION,
        ("Mutation", "deleteAnnotations"): _QUESTION,
        ("Mutation", "embedMedia"): _QUESTION,
        ("Mutation", "deleteEmbeddings"): _QUESTION,
        ("Mutation", "updateMedia"): _QUESTION,
        ("Mutation", "moderateMedia"): _QUESTION,
        ("Mutation", "retryProcessing"): _QUESTION,
        # Five thousand media are looked through.
        ("Query", "labelCounts"): 5_000,
        # Thousands of hashes are looked up.
        ("Media", "similar"): _QUESTION,
        ("Query", "similarMedia"): _QUESTION,
        # To choose takes longer than to answer with what was chosen.
        ("Media", "display"): 1,
        ("Media", "renditions"): 1,
        # One address for each of three sizes.
        ("Media", "srcset"): 2,
        # A thousand characters, which may take four bytes each.
        ("Media", "altText"): 3,
        ("ModerationRecord", "reason"): 3,
        ("Annotation", "text"): 1,
    }
)

# What each item of a list in a mutation's `input` makes it weigh: the name of the list, and the weight of one.
ITEM_SURCHARGES: Final[Mapping[tuple[str, str], tuple[str, int]]] = MappingProxyType(
    {
        # A media, a session and its reservation, and addresses that are signed.
        ("Mutation", "createUploads"): ("files", 100),
        # A media that is hidden, a deletion and its job.
        ("Mutation", "deleteMedia"): ("ids", 50),
        ("Mutation", "annotateMedia"): ("annotations", 2),
        ("Mutation", "deleteAnnotations"): ("ids", 2),
        ("Mutation", "signUploadParts"): ("partNumbers", 5),
    }
)

# What it weighs besides where an argument is given, unless as a literal `false`.
ARGUMENT_SURCHARGES: Final[Mapping[tuple[str, str, str], int]] = MappingProxyType(
    {
        # A wider look takes some ten times as long as the usual one, and one for eight hashes instead of one as well.
        ("Media", "similar", "maxDistance"): 300,
        ("Media", "similar", "includeTransformed"): 1_300,
        ("Query", "similarMedia", "maxDistance"): 300,
        ("Query", "similarMedia", "includeTransformed"): 1_300,
    }
)
