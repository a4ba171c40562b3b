"""The worker's jail: can this machine decode a picture, and write a clip, in confined children?"""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio import to_thread

from service.doctor.findings import Finding, ok, problem
from service.errors import ConfigurationError, ProcessingFailed
from service.models import MediaKind, MediaPurpose, RenditionName
from service.policies import POLICIES
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.settings import WorkerSettings

# One grey pixel.
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
_NO_CLIP = "No clip can be made"
# A black picture and a white one in turns.
_BLINKING = base64.b64decode(
    "R0lGODlhAgACAIEAAAAAAAAAAAAAAAAAACH5BAAKAAAALAAAAAACAAIAAAgGAAEIBBAQACH5BAEKAAEALAAAAAACAAIAgf///wAAAAAAAAAAAAgG"
    "AAEIBBAQADs="
)


async def check_jail(settings: WorkerSettings) -> Finding:
    """Decode a pixel, and make a clip, as a worker would: with libseccomp, and under the limits of `settings`."""
    policy = POLICIES[MediaPurpose.COMMUNITY]
    pictures = tuple(each for each in policy.renditions if MediaKind.IMAGE in each.kinds)
    clip = ProcessingRequest(
        content_type="image/gif", renditions=(policy.rendition(RenditionName.PREVIEW),), fingerprints=False
    )
    attempts = (
        ("No picture can be decoded", _PIXEL, ProcessingRequest(content_type="image/png", renditions=pictures)),
        (_NO_CLIP, _BLINKING, clip),
    )
    jail = Jail(
        memory_bytes=settings.jail_memory_bytes,
        cpu_s=settings.jail_cpu_s,
        clip_cpu_s=settings.jail_clip_cpu_s,
        concurrency=1,
    )
    with TemporaryDirectory() as folder:
        file, said = Path(folder) / "file", "The jail does not start"
        try:
            async with jail:
                for attempt, content, request in attempts:
                    said = attempt
                    await to_thread.run_sync(file.write_bytes, content)
                    await jail.process(file, request)
        except ConfigurationError as error:
            if said is _NO_CLIP and importlib.util.find_spec("av") is None:
                return problem("jail", f"{said}: PyAV is missing.", "Install the service with its extra `worker`.")
            return problem("jail", f"{said}: {error}")
        except ProcessingFailed as error:
            details = " ".join((error.message, *getattr(error, "__notes__", ())))
            cpu = "MEDIA_WORKER__JAIL_CLIP_CPU_S" if said is _NO_CLIP else "MEDIA_WORKER__JAIL_CPU_S"
            remedy = f"Give it more by MEDIA_WORKER__JAIL_MEMORY_BYTES and {cpu}."
            return problem("jail", f"{said}: {details}", remedy)
    return ok("jail", "A picture was decoded, and a clip was made, in confined children.")
