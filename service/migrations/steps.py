"""All migrations there are, oldest first, and what they make of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.migrations import m0002_look_alike_bands, m0003_labels
from service.migrations.migration import Document, Edit, Migration, chained

MIGRATIONS: Final[tuple[Migration, ...]] = (m0002_look_alike_bands.MIGRATION, m0003_labels.MIGRATION)

# What releases before the first migration wrote.
FIRST: Final = MIGRATIONS[0].version - 1
LATEST: Final = MIGRATIONS[-1].version

# A document goes all its way in one write, so it is read once for all of them.
READS: Final = frozenset(name for migration in MIGRATIONS for name in migration.reads)


def version_of(document: Document) -> int:
    """The version that `document` says it is of; ValueError for a later one than LATEST, TypeError for none."""
    version = document.get("schema_version")
    # Shells write numbers with a fraction, even where there is none.
    if isinstance(version, float) and version.is_integer():
        version = int(version)
    if not isinstance(version, int) or isinstance(version, bool):
        raise TypeError(unversioned(version))
    if version > LATEST:
        raise ValueError(f"A later release wrote it (version {version}): only that one may change it.")
    return version


def unversioned(version: object) -> str:
    """Why a document with this for its version is left."""
    return (
        f"Its schema_version is {version!r}, which no release writes. Make it a number: {FIRST} if in doubt, since "
        "migrating what is migrated already changes nothing."
    )


def upgraded(document: Document, to: int) -> Edit:
    """What makes `document` one of version `to`, whichever version it is of."""
    since = version_of(document)
    return chained((each.up for each in MIGRATIONS if since < each.version <= to), document)


def downgraded(document: Document, to: int) -> Edit:
    """What makes `document` one of version `to`, as the release that wrote that version would have it."""
    since = version_of(document)
    return chained((each.down for each in reversed(MIGRATIONS) if to < each.version <= since), document)


def rechecked(document: Document, to: int) -> Edit:
    """What `document` lacks of version `to`, although it may say that it is of that version."""
    version_of(document)
    return chained((each.up for each in MIGRATIONS if each.version <= to), document)


def read_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that migrations decided by, as far as `document` has them."""
    return {name: document[name] for name in READS if name in document}
