"""Clips made to break a decoder, or to make it reach for what it must not; built so that each says what is wrong."""

from __future__ import annotations

import functools
import struct

import numpy as np

from tests import clips


def truncated_index() -> bytes:
    """An upload that stopped within the index."""
    whole = clips.clip()
    return whole[: whole.index(b"moov") + 200]


def without_index() -> bytes:
    """A recording that was never finished: pictures, but nothing that says where they are."""
    whole = clips.clip()
    return whole[: whole.index(b"moov") - 4]


def truncated_pictures() -> bytes:
    """The index comes first, and promises pictures that are not there."""
    index_first = clips.clip(faststart=True)
    return index_first[: index_first.index(b"mdat") + 200]


def noise_for_pictures() -> bytes:
    """A sound index over noise."""
    whole = bytearray(clips.clip(silent=True, faststart=True))
    at = whole.index(b"mdat") + 4
    whole[at:] = np.random.default_rng(3).bytes(len(whole) - at)
    return bytes(whole)


def headless() -> bytes:
    """The right first bytes, then noise."""
    return clips.clip()[:32] + np.random.default_rng(4).bytes(4_000)


def lasting(seconds: int) -> bytes:
    """A clip of a second whose header claims `seconds`."""
    # Its edit list would still say that a second of it is to be shown.
    whole = clips.clip(silent=True).replace(b"edts", b"free")
    at = whole.index(b"mdhd") + 4
    per_second = int.from_bytes(whole[at + 12 : at + 16], "big")
    # What the track header of the samples says: one of them lasts for the rest.
    times = whole.index(b"stts") + 4
    count = int.from_bytes(whole[times + 4 : times + 8], "big")
    assert count == 1
    entry = whole[times + 8 : times + 16]
    samples = int.from_bytes(entry[:4], "big")
    longer = struct.pack(">II", samples, seconds * per_second // samples)
    told = whole[: at + 16] + struct.pack(">I", seconds * per_second) + whole[at + 20 :]
    return told[: times + 8] + longer + told[times + 16 :]


def belittled(seconds: int, told_s: int) -> bytes:
    """A WebM clip of `seconds` whose header (RFC 9559, 5.1.2.10, in milliseconds) tells `told_s`."""
    whole = clips.clip("vp8", size=(32, 32), seconds=seconds, rate=1, silent=True)
    # The element's id, and that 8 bytes follow.
    at = whole.index(b"\x44\x89\x88") + 3
    return whole[:at] + struct.pack(">d", 1_000.0 * told_s) + whole[at + 8 :]


def claiming(width: int, height: int) -> bytes:
    """A small clip whose sample entry, and whose pictures' own header, ask for other sizes."""
    whole = clips.clip("mjpeg", silent=True, seconds=0.2)
    # ISO/IEC 14496-12, 12.1.3: the size of a visual sample entry.
    entry = whole.index(b"mp4v", whole.index(b"stsd")) + 28
    told = bytearray(whole[:entry] + struct.pack(">HH", width, height) + whole[entry + 4 :])
    at = -1
    while (at := told.find(b"\xff\xc0", at + 1)) >= 0:
        told[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(told)


def referring_to(url: bytes) -> bytes:
    """A QuickTime clip of the scene that says its pictures are elsewhere (`dref`, ISO/IEC 14496-12, 8.7.2)."""
    whole = clips.clip("mov", silent=True)
    reference = b"url " + bytes(4) + url + b"\x00"
    entry = struct.pack(">I", 4 + len(reference)) + reference
    here = struct.pack(">I", 12) + b"url " + b"\x00\x00\x00\x01"
    at = whole.index(here)
    return _grown(whole[:at] + entry + whole[at + len(here) :], at, len(entry) - len(here))


def _grown(whole: bytes, at: int, growth: int) -> bytes:
    """`whole` with every box around `at` larger by `growth`, in an index that comes last."""
    told = bytearray(whole)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        box = whole.rindex(name, 0, at) - 4
        told[box : box + 4] = struct.pack(">I", int.from_bytes(whole[box : box + 4], "big") + growth)
    return bytes(told)


def playlist_within() -> bytes:
    """The first bytes of an MP4, then a list of files to play."""
    list_of_files = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    return clips.clip()[:32] + list_of_files + b"ffconcat version 1.0\nfile /etc/passwd\n"


@functools.cache
def _small(kind: str) -> bytes:
    return clips.clip(kind, size=(64, 48), seconds=0.3, faststart=kind in ("mp4", "mov"))


def fuzzed(kind: str, seed: int) -> bytes:
    """A good clip in which a few bytes, mostly of its headers, are others."""
    random = np.random.default_rng(seed)
    whole = bytearray(_small(kind))
    for _ in range(random.integers(1, 12)):
        reach = len(whole) if random.random() < 0.3 else min(len(whole), 2_000)
        whole[random.integers(40, reach)] = random.integers(0, 256)
    return bytes(whole)
