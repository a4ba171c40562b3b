"""Taking an index away in two steps: hidden first, which is undone in a moment, and dropped once nothing misses it."""

from __future__ import annotations

from indexes.declaration import Index
from indexes.drift import compare
from indexes.ensure import DECLARED
from service.stores.index_builds import IndexBuilds, IndexRefused


async def hide(place: str, builds: IndexBuilds) -> str:
    """Let no query use the index at `place` (COLLECTION.INDEX) any more; what was done, as a sentence.

    It goes on being kept up to date. Raises IndexRefused for one that is declared, or that is not there.
    """
    collection, name = await _removable(place, builds)
    await builds.set_hidden(collection, name, hidden=True)
    return f"{place} is hidden. If something misses it: --unhide {place}; if nothing does: --drop {place}"


async def unhide(place: str, builds: IndexBuilds) -> str:
    """Let queries use a hidden index again; as `hide`, but for any index."""
    collection, name = _parts(place)
    rows = await builds.rows(collection)
    if name not in rows:
        raise IndexRefused(f"There is no index {place}.")
    if not rows[name].get("hidden"):
        return f"{place} was not hidden; nothing has changed."
    await builds.set_hidden(collection, name, hidden=False)
    return f"{place} may be used again."


async def drop(place: str, builds: IndexBuilds) -> str:
    """Drop the index at `place`, which is to be hidden and declared nowhere; as `hide`."""
    collection, name = await _removable(place, builds)
    if not (await builds.rows(collection))[name].get("hidden"):
        raise IndexRefused(
            f"{place} is in use as far as anybody knows. Hide it first (--hide {place}), see for a day that nothing "
            "becomes slow or fails, and drop it then: building it again may take hours."
        )
    await builds.drop(collection, name)
    return f"{place} is dropped."


async def _removable(place: str, builds: IndexBuilds) -> tuple[str, str]:
    collection, name = _parts(place)
    rows = await builds.rows(collection)
    if name not in rows:
        raise IndexRefused(f"There is no index {place}.")
    if name == "_id_":
        raise IndexRefused(f"{place} belongs to its collection.")
    declared: tuple[Index, ...] = tuple(index for index in DECLARED.get(collection, ()) if index.name == name)
    if declared and not compare(collection, declared, {name: rows[name]}).different:
        raise IndexRefused(f"{place} is declared: queries ask for it. Take its declaration away first.")
    return collection, name


def _parts(place: str) -> tuple[str, str]:
    collection, _, name = place.partition(".")
    if not collection or not name:
        raise IndexRefused(f"{place!r} names no index: write COLLECTION.INDEX, such as media.feed.")
    return collection, name
