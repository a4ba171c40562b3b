"""What the pipeline's steps pass from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import PIL
from PIL import Image

from service.models import EmbeddedMetadata, Fingerprints, Receipt, Rendition, RenditionName, ViewImage
from service.processing.wire import ProcessingRequest, ViewRequest

if TYPE_CHECKING:
    # Only what moves needs its codecs.
    from service.processing.clip_source import ClipSource

PILLOW = f"Pillow {PIL.__version__}"


@dataclass(slots=True)
class Work:
    """One job. Each step reads what earlier ones filled in; `image` shrinks and changes mode on its way.

    `content_type`: what the file turned out to be. `stored_size`: width and height in pixels as the file has them,
    before any turn. `coding`: colour primaries and transfer characteristics, as numbered in ITU-T H.273, where the
    container names them. `view`: what a program is to be shown, where that is the job; `shown`: the picture made for
    it. `used` and `parameters` are for the receipt of the step that runs.
    """

    source: BinaryIO
    request: ProcessingRequest
    view: ViewRequest | None = None
    clip: ClipSource | None = None
    image: Image.Image = field(default_factory=lambda: Image.new("RGB", (1, 1)))
    content_type: str = ""
    byte_length: int = 0
    stored_size: tuple[int, int] = (0, 0)
    orientation: int = 1
    icc_profile: bytes | None = None
    coding: tuple[int, int] | None = None
    frame_count: int = 1
    duration_ms: int | None = None
    metadata: EmbeddedMetadata = field(default_factory=EmbeddedMetadata)
    pictures: dict[RenditionName, Image.Image] = field(default_factory=dict)
    renditions: list[Rendition] = field(default_factory=list)
    fingerprints: Fingerprints | None = None
    shown: ViewImage | None = None
    used: str = PILLOW
    parameters: dict[str, str | int | float | bool] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def transposed(self) -> bool:
        """Whether the orientation swaps width and height."""
        return self.orientation >= 5

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as a viewer sees the original."""
        width, height = self.stored_size
        return (height, width) if self.transposed else (width, height)

    def wants(self, name: RenditionName) -> bool:
        """Whether this job is to make the rendition `name`, in any format."""
        return any(policy.name is name for policy in self.request.renditions)

    def note(self, tool: str, **parameters: str | float | bool) -> None:
        """Tell the receipt of the running step which tool it used, and what it told it."""
        self.used = tool
        self.parameters.update(parameters)
