"""One seam for finding the nearest embeddings: an exact scan in memory, or MongoDB's own vector index."""

from __future__ import annotations

from service.settings import VectorSettings
from service.stores.database import Database
from service.stores.vector_index import VectorIndex
from service.vector_search.atlas import AtlasSearch
from service.vector_search.candidates import Candidate, VectorSearch
from service.vector_search.scan import ScanSearch

__all__ = ["Candidate", "VectorSearch", "open_vector_search"]


def open_vector_search(settings: VectorSettings, database: Database) -> VectorSearch | None:
    """The engine of the settings, with nothing read yet; None where nothing is to be searched."""
    if settings.engine == "atlas":
        return AtlasSearch(VectorIndex(database, settings.index))
    return ScanSearch(database, memory_bytes=settings.memory_bytes) if settings.memory_bytes else None
