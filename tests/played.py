"""A preview as whoever plays it sees and hears it."""

from __future__ import annotations

import io

import av
import numpy as np

from service.models import RenditionName
from service.processing.work import Work


class Played:
    """The preview among the renditions of a job, decoded: `images` at `times`, and `samples` from `heard_from_s` on."""

    def __init__(self, work: Work) -> None:
        self.body = next(r.body for r in work.renditions if r.name is RenditionName.PREVIEW)
        with av.open(io.BytesIO(self.body)) as container:
            self.tags = dict(container.metadata)
            self.pictures, self.sound = container.streams.video[0], next(iter(container.streams.audio), None)
            self.codecs = [stream.codec_context.name for stream in container.streams]
            self.duration_s = container.duration / av.time_base
            self.stream_tags = [stream.metadata for stream in container.streams]
            frames = [frame for packet in container.demux() for frame in packet.decode()]
        shown = [frame for frame in frames if isinstance(frame, av.VideoFrame)]
        self.times = [float(frame.pts * frame.time_base) for frame in shown]
        self.images = [frame.to_image() for frame in shown]
        heard = [frame for frame in frames if isinstance(frame, av.AudioFrame)]
        self.samples = np.concatenate([frame.to_ndarray() for frame in heard], axis=1) if heard else None
        self.heard_from_s = float(heard[0].pts * heard[0].time_base) if heard else None
