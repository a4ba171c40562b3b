"""Who may have each field of the schema: one table. What it does not name is denied, by refusing to build the schema.

Who is meant by a rule that has an action stands in the access table, service/access.py. On a root field the action is
asked for inside the database query; on a field of an object, of the media that the object belongs to, by
`schema/by_rule.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

from service.access import Action


class Rule(enum.Enum):
    """`audience`: in words, for docs/authorisation.md. `action`: what the access table must allow, if it decides."""

    EVERYBODY = ("everybody; what the viewer may not see is left out", None)
    SIGNED_IN = ("whoever is signed in, about what is their own", None)
    UPLOADER = ("whose upload session it is", None)
    READERS = ("who may read the media", Action.READ)
    FOLLOWERS = ("who may follow the media", Action.FOLLOW)
    CHANGERS = ("who may change the media", Action.CHANGE)
    ANNOTATORS = ("who may annotate the media", Action.ANNOTATE)
    DELETERS = ("who may delete the media", Action.DELETE)
    MODERATORS = ("moderators", Action.MODERATE)
    # Of fields of objects alone:
    WITH_OBJECT = ("whoever was given the object", None)
    PARTLY = ("whoever was given the object; all of it only some", None)
    DETAILS = ("who may read the media's details", Action.READ_DETAILS)
    ORIGINAL = ("who may read the original", Action.READ_ORIGINAL)

    def __init__(self, audience: str, action: Action | None) -> None:
        self.audience = audience
        self.action = action


Fields = Mapping[Rule, str]

FIELD_RULES: Mapping[str, Fields] = {
    "Query": {
        Rule.EVERYBODY: """feed labelCounts mediaList nearestMedia node nodes similarMedia uploadPolicy viewer""",
        Rule.READERS: "media",
        Rule.UPLOADER: "upload",
        Rule.SIGNED_IN: "findDuplicates",
        Rule.DELETERS: "deletion",
    },
    "Mutation": {
        Rule.SIGNED_IN: "createUploads",
        Rule.UPLOADER: "abortUpload completeUpload signStorageRequest signUploadParts",
        Rule.CHANGERS: "retryProcessing updateMedia",
        Rule.ANNOTATORS: "annotateMedia deleteAnnotations deleteEmbeddings embedMedia",
        Rule.DELETERS: "deleteMedia",
        Rule.MODERATORS: "moderateMedia",
    },
    "Subscription": {
        Rule.EVERYBODY: "feedUpdates",
        Rule.FOLLOWERS: "captureStatus mediaStatus",
        Rule.DELETERS: "deletionProgress",
    },
    "Media": {
        Rule.WITH_OBJECT: """albumIds altText byteSize captureId contentType createdAt display dominantColor durationMs
            embeddings failure firstViewableAt focus height id kind ownerId perceptualHash position purpose renditions
            renditionsComplete similar srcset status statusHistory statusSequence subject tags thumbhash title updatedAt
            visibility width""",
        Rule.PARTLY: "annotations capturedAt",
        Rule.DETAILS: "camera location sha256",
        Rule.ORIGINAL: "original",
        Rule.MODERATORS: "moderation",
    },
    "Embedding": {Rule.WITH_OBJECT: "createdAt dimensions model", Rule.ANNOTATORS: "vector"},
    "Annotation": {Rule.WITH_OBJECT: "boundingBox confidence createdAt id label source text"},
    "AnnotationConnection": {Rule.WITH_OBJECT: "edges nodes pageInfo"},
    "AnnotationEdge": {Rule.WITH_OBJECT: "cursor node"},
    "BoundingBox": {Rule.WITH_OBJECT: "height width x y"},
    "Camera": {Rule.WITH_OBJECT: "make model"},
    "Deletion": {
        Rule.WITH_OBJECT: """blockedUntil cdnInvalidatedAt certificate id mediaId objectsRemoved objectsTotal
            requestedAt stage verifiedAt""",
    },
    "DuplicateMatch": {Rule.WITH_OBJECT: "media sha256"},
    "GeoPoint": {Rule.WITH_OBJECT: "latitude longitude"},
    "HttpHeader": {Rule.WITH_OBJECT: "name value"},
    "LabelCount": {Rule.WITH_OBJECT: "count label"},
    "LabelCounts": {Rule.WITH_OBJECT: "isComplete labels mediaCounted"},
    "MediaConnection": {Rule.WITH_OBJECT: "edges nodes pageInfo"},
    "MediaEdge": {Rule.WITH_OBJECT: "cursor node"},
    "MediaFailure": {Rule.WITH_OBJECT: "code message retryable"},
    "MediaStatusEvent": {Rule.WITH_OBJECT: "cursor media progress sequence status"},
    "MetadataHandling": {Rule.WITH_OBJECT: "field policy"},
    "ModerationRecord": {Rule.WITH_OBJECT: "at by decision reason"},
    "NearestMedia": {Rule.WITH_OBJECT: "media", Rule.PARTLY: "similarity"},
    "Node": {Rule.WITH_OBJECT: "id"},
    "PageInfo": {Rule.WITH_OBJECT: "endCursor hasNextPage hasPreviousPage startCursor"},
    "Rendition": {
        Rule.WITH_OBJECT: "byteSize cacheKey format height name unsignedUrl url urlExpiresAt width",
    },
    "SignedUrl": {Rule.WITH_OBJECT: "expiresAt url"},
    "SimilarMedia": {Rule.WITH_OBJECT: "distance media transform"},
    "StatusChange": {Rule.WITH_OBJECT: "at sequence status"},
    "Subject": {Rule.WITH_OBJECT: "id type"},
    "Upload": {
        Rule.WITH_OBJECT: "byteSize bytesConfirmed expiresAt id media method objectKey partCount partSize parts target",
    },
    "UploadOutcome": {Rule.WITH_OBJECT: "duplicate upload userErrors"},
    "UploadPart": {Rule.WITH_OBJECT: "byteSize etag number"},
    "UploadPartTarget": {Rule.WITH_OBJECT: "byteSize number target"},
    "UploadPolicy": {
        Rule.WITH_OBJECT: """contentTypes jpegQuality maxBytes maxClipBytes maxClipDurationMs maxConcurrentParts
            maxConcurrentUploads maxDimension metadata multipartThreshold partSize retryDelaysMs""",
    },
    "UploadTarget": {Rule.WITH_OBJECT: "expiresAt headers method url"},
    "UserError": {Rule.WITH_OBJECT: "code field message retryAfterMs retryable"},
    "Viewer": {Rule.WITH_OBJECT: "bytesAllowed bytesStored id roles"},
    # What mutations answer with: nothing but what their own rule let through.
    "AbortUploadPayload": {Rule.WITH_OBJECT: "media userErrors"},
    "AnnotateMediaPayload": {Rule.WITH_OBJECT: "annotations media userErrors"},
    "CompleteUploadPayload": {Rule.WITH_OBJECT: "media userErrors"},
    "CreateUploadsPayload": {Rule.WITH_OBJECT: "outcomes userErrors"},
    "DeleteAnnotationsPayload": {Rule.WITH_OBJECT: "deletedIds userErrors"},
    "DeleteEmbeddingsPayload": {Rule.WITH_OBJECT: "deletedModels media userErrors"},
    "DeleteMediaPayload": {Rule.WITH_OBJECT: "deletions userErrors"},
    "EmbedMediaPayload": {Rule.WITH_OBJECT: "embedding media userErrors"},
    "ModerateMediaPayload": {Rule.WITH_OBJECT: "media userErrors"},
    "RetryProcessingPayload": {Rule.WITH_OBJECT: "media userErrors"},
    "SignStorageRequestPayload": {Rule.WITH_OBJECT: "target userErrors"},
    "SignUploadPartsPayload": {Rule.WITH_OBJECT: "parts userErrors"},
    "UpdateMediaPayload": {Rule.WITH_OBJECT: "media userErrors"},
}

# Arguments of queries and subscriptions, and fields of the inputs that they take, that ask for more than their field's
# rule says: about a media besides those that are shown, or by what only some may know.
WIDENING: Mapping[str, Rule] = {
    "Query.nearestMedia.mediaId": Rule.READERS,
    # By `near-duplicate` alone, which says something of another media of the same owner.
    "MediaFilter.label": Rule.DETAILS,
}

# All others choose among what the field shows anyway.
NARROWING: Mapping[str, str] = {
    "Query.deletion": "id",
    "Query.feed": "after first hint purpose",
    "Query.findDuplicates": "sha256",
    "Query.labelCounts": "filter first",
    "Query.media": "id",
    "Query.mediaList": "after filter first",
    "Query.nearestMedia": "first model vector",
    "Query.node": "id",
    "Query.nodes": "ids",
    "Query.similarMedia": "first includeTransformed maxDistance perceptualHash",
    "Query.upload": "id",
    "Query.uploadPolicy": "network purpose",
    "Subscription.captureStatus": "after captureId",
    "Subscription.deletionProgress": "id",
    "Subscription.feedUpdates": "purpose",
    "Subscription.mediaStatus": "after ids",
    "Media.annotations": "after first label minConfidence source",
    "Media.display": "hint",
    "Media.embeddings": "models",
    "Media.renditions": "formats names",
    "Media.similar": "first includeTransformed maxDistance",
    "Media.srcset": "accept",
    "DisplayHint": "accept devicePixelRatio network width",
    "MediaFilter": """albumId captureId createdAfter createdBefore kind minConfidence ownerId purpose status subject
        tags""",
    "SubjectInput": "id type",
}


def rules() -> Iterator[tuple[str, Rule]]:
    """`Type.field` and its rule, row by row; one that stands twice comes twice."""
    for type_name, fields in FIELD_RULES.items():
        for rule, names in fields.items():
            for name in names.split():
                yield f"{type_name}.{name}", rule


RULE_OF: Mapping[str, Rule] = dict(rules())
