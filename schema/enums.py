"""The service's enums, made known to GraphQL under their own names."""

from __future__ import annotations

import strawberry

from service import errors, lifecycle, models, policies, storage_signing

strawberry.enum(lifecycle.MediaStatus, description="Where a media is in its life; it never moves backwards by itself.")
strawberry.enum(models.MediaKind)
strawberry.enum(models.MediaPurpose, description="What the media is for; each purpose has its policy.")
strawberry.enum(models.Visibility)
strawberry.enum(
    models.RenditionName,
    description="THUMBNAIL 200x200 crop; FEED 720 px; FULL 1080 px (longest side, never enlarged); POSTER; PREVIEW.",
)
strawberry.enum(models.MediaFormat)
strawberry.enum(models.NetworkQuality)
strawberry.enum(
    models.MetadataField, description="What may be read from a file's own metadata; all else in it is never looked at."
)
strawberry.enum(
    policies.MetadataPolicy,
    description="STRIP: never read. KEEP_PRIVATE: kept, shown to the owner and to moderators. USER_CHOICE: kept so "
    "where the file's keepMetadata asks for it.",
)
strawberry.enum(models.UploadMethod)
strawberry.enum(
    models.ModerationDecision,
    description="QUARANTINE: a READY media is shown to nobody any more. RELEASE: a QUARANTINED one is processed again.",
)
strawberry.enum(storage_signing.StorageMethod)
strawberry.enum(models.DeletionStage, description="How far a deletion has come.")
strawberry.enum(errors.ErrorCode, name="UserErrorCode", description="What clients may branch on.")
