"""Does the database have the search indexes that `MEDIA_VECTORS__ENGINE=atlas` asks?"""

from __future__ import annotations

import orjson

from service.doctor.findings import Finding, ok, problem
from service.errors import ConfigurationError
from service.settings import MongoSettings, VectorSettings
from service.stores.database import open_database
from service.stores.inspection import DatabaseUnusable, explained
from service.stores.vector_index import VectorIndex
from service.vector_search.atlas import AtlasSearch

_CHECK = "vectors"


async def check_vectors(settings: VectorSettings, mongo: MongoSettings) -> list[Finding]:
    """The server's part, and an index for the dimensions of every known model; nothing where no index is asked."""
    if settings.engine != "atlas":
        return []
    try:
        with explained():
            async with open_database(mongo) as database:
                index = VectorIndex(database, settings.index)
                await AtlasSearch(index).check()
                missing = await index.missing()
    except (DatabaseUnusable, ConfigurationError) as error:
        return [problem(_CHECK, str(error))]
    return [
        problem(
            _CHECK,
            f"The vector search index {name} is missing: searches of its models find nothing.",
            f"Create it on the collection embeddings: {orjson.dumps(definition).decode()}",
        )
        for name, definition in sorted(missing.items())
    ] or [ok(_CHECK, "Every model's vectors have their search index.")]
