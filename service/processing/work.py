"""What the pipeline's steps pass from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from PIL import Image

from service.models import Rendition, RenditionName
from service.processing.wire import ProcessingRequest


@dataclass(slots=True)
class Work:
    """One job. Each step reads what earlier ones filled in; `image` shrinks and changes mode on its way."""

    source: BinaryIO
    request: ProcessingRequest
    image: Image.Image = field(default_factory=lambda: Image.new("RGB", (1, 1)))
    byte_length: int = 0
    stored_size: tuple[int, int] = (0, 0)
    orientation: int = 1
    icc_profile: bytes | None = None
    pictures: dict[RenditionName, Image.Image] = field(default_factory=dict)
    renditions: list[Rendition] = field(default_factory=list)
    thumbhash: str = ""
    dominant_color: str = ""
    perceptual_hash: str = ""

    @property
    def transposed(self) -> bool:
        """Whether the orientation swaps width and height."""
        return self.orientation >= 5

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as a viewer sees the original."""
        width, height = self.stored_size
        return (height, width) if self.transposed else (width, height)
