"""Which annotators this process has, from its settings and from what is installed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from service.annotators import Annotator, Annotators
from service.annotators.food_label import FoodLabelReader
from service.annotators.near_duplicate import NearDuplicateFinder
from service.annotators.tesseract import find_tesseract
from service.errors import ConfigurationError
from service.settings import AnnotatorSettings
from service.stores import Stores

# Each answers None where its tool is not installed.
Opener = Callable[[AnnotatorSettings, Stores], Awaitable[Annotator | None]]


async def _open_food_label(settings: AnnotatorSettings, _stores: Stores) -> Annotator | None:
    reader = await find_tesseract(settings.languages, timeout_s=settings.ocr_timeout_s)
    return None if reader is None else FoodLabelReader(reader)


async def _open_near_duplicate(_settings: AnnotatorSettings, stores: Stores) -> Annotator | None:
    return NearDuplicateFinder(stores)


_OPENERS: Final[Mapping[str, Opener]] = {
    "food-label": _open_food_label,
    "near-duplicate": _open_near_duplicate,
}


async def open_annotators(settings: AnnotatorSettings, *, stores: Stores) -> Annotators:
    """The annotators that `settings` name, by name; without names, all whose tools are installed.

    Raises ConfigurationError for a name that is unknown, and for a tool or language that is named but not installed.
    """
    names = _OPENERS.keys() if settings.enabled is None else dict.fromkeys(settings.enabled)
    if unknown := sorted(set(names) - _OPENERS.keys()):
        raise ConfigurationError(
            f"MEDIA_ANNOTATORS__ENABLED names no annotator: {', '.join(unknown)}. There are {', '.join(_OPENERS)}."
        )
    opened = {name: await _OPENERS[name](settings, stores) for name in names}
    if settings.enabled is not None and (missing := [name for name, found in opened.items() if found is None]):
        raise ConfigurationError(
            f"The tools of {', '.join(missing)} are not installed. Install them (Debian, Ubuntu: apt-get install "
            "tesseract-ocr) or take the name out of MEDIA_ANNOTATORS__ENABLED."
        )
    return {name: annotator for name, annotator in opened.items() if annotator is not None}
