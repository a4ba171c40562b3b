"""Root fields that ask for look-alikes."""

from __future__ import annotations

import strawberry

from schema.by_rule import holds_to
from schema.context import Info
from schema.field_rules import Rule
from schema.look_alikes import DEFAULT_DISTANCE, DEFAULT_FIRST, SimilarMedia, similar_media
from schema.media import media_of
from schema.scalars import PerceptualHash
from service.look_alikes import asked_of_hash
from service.perceptual_hash import to_stored


@strawberry.type
class LookAlikeQueries:
    @strawberry.field(
        description="Media that the viewer may see whose pictures look like one with this hash, nearest first. Misses "
        "none within maxDistance (0 to 10 bits), but flat pictures, whose hashes tell nothing, are not looked for. The "
        "hashes of mirrored and rotated copies are only estimated here, some bits off: `Media.similar` knows them."
    )
    @holds_to(Rule.EVERYBODY)
    async def similar_media(
        self,
        info: Info,
        perceptual_hash: PerceptualHash,
        max_distance: int | None = DEFAULT_DISTANCE,
        first: int | None = DEFAULT_FIRST,
        include_transformed: bool = False,
    ) -> list[SimilarMedia]:
        asked = asked_of_hash(to_stored(perceptual_hash), include_transformed=include_transformed)
        return await similar_media(info, asked, max_distance=max_distance, first=first, media_of=media_of)
