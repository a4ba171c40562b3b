"""2: the bands of perceptual hashes, by which look-alikes are found."""

from __future__ import annotations

from service.migrations.migration import Document, Edit, Migration
from service.perceptual_hash import bands_of


def _up(media: Document) -> Edit:
    stored = (media.get("hashes") or {}).get("phash")
    bands = None if stored is None else bands_of(stored)
    if bands is None:
        return Edit(removed=("hashes.bands",))
    return Edit({"hashes.bands": bands})


def _down(_media: Document) -> Edit:
    return Edit(removed=("hashes.bands",))


MIGRATION = Migration(
    version=2,
    description="hashes.bands from hashes.phash: media of earlier releases are found among look-alikes",
    reads=("hashes",),
    up=_up,
    down=_down,
)
