"""Every rendition of five kinds of files side by side, for people to look at: `python -m benchmarks.contact_sheet`.

Made of the sample photos, by the pipeline in its jail, as the worker asks for them: docs/contact-sheet.jpg.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

from service.documents import MediaDocument
from service.models import MediaFormat, ProcessedFile, Rendition
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.wanted_renditions import missing_renditions, stills_and_clips, urgent_renditions
from tests.clips import clip
from tests.photos import heic, private_exif, stored_as

REPOSITORY = Path(__file__).parent.parent
SHEET = REPOSITORY / "docs" / "contact-sheet.jpg"
SAMPLES = REPOSITORY / "service" / "dev" / "samples"
TILE, GAP, HEADING, CAPTION, CHECK = 176, 10, 30, 34, 8
INK, SOFT, GROUND, CHECKS = (32, 34, 40), (104, 108, 118), (250, 250, 248), ((255, 255, 255), (214, 214, 214))


@dataclass(frozen=True, slots=True)
class Source:
    title: str
    content_type: str
    made: Callable[[], bytes]


def _sample(name: str, size: tuple[int, int]) -> Image.Image:
    """A sample photo, upright, cut and resized to fill `size`."""
    upright = ImageOps.exif_transpose(Image.open(SAMPLES / f"{name}.jpg"))
    return ImageOps.fit(upright.convert("RGB"), size, Image.Resampling.LANCZOS)


def _saved(picture: Image.Image, container: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, container, **options)
    return buffer.getvalue()


def _portrait() -> bytes:
    stored = stored_as(_sample("raccoon", (1200, 1600)), 6)
    return _saved(stored, "JPEG", quality=92, exif=private_exif(6))


def _transparent() -> bytes:
    cup = _sample("coffee", (1200, 1200))
    veil = Image.new("L", cup.size)
    ImageDraw.Draw(veil).ellipse((60, 60, 1140, 1140), fill=255)
    cup.putalpha(veil)
    return _saved(cup, "PNG")


def _launch() -> bytes:
    """Two seconds that come closer to a rocket."""
    photo = _sample("rocket", (1280, 720))

    def frame(number: int) -> Image.Image:
        inset = 5 * number
        return photo.resize((1280, 720), box=(inset * 16 / 9, inset, 1280 - inset * 16 / 9, 720 - inset))

    return clip(size=(1280, 720), seconds=2, draw=frame)


SOURCES = (
    Source("Portrait: JPEG stored on its side (EXIF orientation 6), 1200 x 1600", "image/jpeg", _portrait),
    Source(
        "Panorama: JPEG, 3000 x 600", "image/jpeg", lambda: _saved(_sample("galaxies", (3000, 600)), "JPEG", quality=92)
    ),
    Source("Transparent PNG, 1200 x 1200 (on a checkerboard where it is seen through)", "image/png", _transparent),
    Source("HEIC, 1350 x 900", "image/heic", lambda: heic(_sample("cat", (1350, 900)), exif=private_exif().tobytes())),
    Source("Clip: MP4, 1280 x 720, 2 s, with sound (the preview by a frame from its middle)", "video/mp4", _launch),
)


async def _renditions(jail: Jail, source: Source) -> list[Rendition]:
    """All of them: those that somebody waits for, and then the rest."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(source.made())
        file.flush()
        path = Path(file.name)
        media = cast("MediaDocument", {"purpose": "COMMUNITY", "content": {"type": source.content_type}})

        async def process(group: Sequence[Any], *, urgent: bool) -> ProcessedFile:
            request = ProcessingRequest(content_type=source.content_type, renditions=tuple(group), urgent=urgent)
            return await jail.process(path, request)

        made = list((await process(urgent_renditions(media), urgent=True)).renditions)
        present = [cast("Any", {"name": each.name, "format": each.format}) for each in made]
        for group in stills_and_clips(missing_renditions(media, present)):
            made += (await process(group, urgent=False)).renditions
    order = {name: place for place, name in enumerate(("THUMBNAIL", "FEED", "FULL", "POSTER", "PREVIEW"))}
    formats = list(MediaFormat)
    return sorted(made, key=lambda each: (order[each.name], formats.index(each.format)))


def _picture(rendition: Rendition) -> Image.Image:
    if rendition.format is not MediaFormat.MP4:
        return Image.open(io.BytesIO(rendition.body))
    with av.open(io.BytesIO(rendition.body)) as preview:
        frames = list(preview.decode(video=0))
        return frames[len(frames) // 2].to_image()


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    board = Image.new("RGBA", size, CHECKS[0])
    squares = ImageDraw.Draw(board)
    for left in range(0, size[0], CHECK):
        for top in range(CHECK * (left // CHECK % 2), size[1], 2 * CHECK):
            squares.rectangle((left, top, left + CHECK - 1, top + CHECK - 1), fill=CHECKS[1])
    return board


def _tile(rendition: Rendition) -> Image.Image:
    """The picture as large as it fits, never enlarged, over its name, format, pixels and bytes."""
    tile = Image.new("RGB", (TILE, TILE + CAPTION), GROUND)
    picture = _picture(rendition).convert("RGBA")
    picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    shown = Image.alpha_composite(_checkerboard(picture.size), picture).convert("RGB")
    tile.paste(shown, ((TILE - shown.width) // 2, TILE - shown.height))
    size = f"{rendition.width} x {rendition.height}, {len(rendition.body):,} bytes"
    words = ImageDraw.Draw(tile)
    words.text((2, TILE + 3), f"{rendition.name} {rendition.format}", INK, ImageFont.load_default(12))
    words.text((2, TILE + 18), size, SOFT, ImageFont.load_default(11))
    return tile


def _sheet(rows: Sequence[tuple[str, Sequence[Rendition]]]) -> Image.Image:
    across = max(len(renditions) for _, renditions in rows)
    height = HEADING + TILE + CAPTION + GAP
    sheet = Image.new("RGB", (GAP + across * (TILE + GAP), GAP + len(rows) * height), GROUND)
    for row, (title, renditions) in enumerate(rows):
        top = GAP + row * height
        ImageDraw.Draw(sheet).text((GAP, top), title, INK, ImageFont.load_default(17))
        for column, rendition in enumerate(renditions):
            sheet.paste(_tile(rendition), (GAP + column * (TILE + GAP), top + HEADING))
    return sheet


async def main() -> None:
    """Make the renditions and draw the sheet."""
    async with Jail(memory_bytes=1_500_000_000, cpu_s=60) as jail:
        rows = [(source.title, await _renditions(jail, source)) for source in SOURCES]
    for title, renditions in rows:
        print(title)
        for each in renditions:
            print(f"  {each.name:9} {each.format:4} {each.width:5} x {each.height:<5} {len(each.body):9,}")
    _sheet(rows).save(SHEET, quality=85, optimize=True)
    print(f"{SHEET.relative_to(REPOSITORY)}: {SHEET.stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main())
