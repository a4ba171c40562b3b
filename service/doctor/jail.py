"""The worker's jail: can this machine decode a picture in a confined child?"""

from __future__ import annotations

import base64
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio import to_thread

from service.doctor.findings import Finding, ok, problem
from service.errors import ConfigurationError, ProcessingFailed
from service.models import MediaKind, MediaPurpose
from service.policies import POLICIES
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.settings import WorkerSettings

# One grey pixel.
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


async def check_jail(settings: WorkerSettings) -> Finding:
    """Decode one pixel as a worker would: with libseccomp, and under the limits of `settings`."""
    renditions = POLICIES[MediaPurpose.COMMUNITY].renditions
    pictures = tuple(policy for policy in renditions if MediaKind.IMAGE in policy.kinds)
    request = ProcessingRequest(content_type="image/png", renditions=pictures)
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "pixel.png"
        await to_thread.run_sync(picture.write_bytes, _PIXEL)
        try:
            async with Jail(memory_bytes=settings.jail_memory_bytes, cpu_s=settings.jail_cpu_s, concurrency=1) as jail:
                await jail.process(picture, request)
        except ConfigurationError as error:
            return problem("jail", str(error))
        except ProcessingFailed as error:
            details = " ".join((error.message, *getattr(error, "__notes__", ())))
            remedy = "Give it more by MEDIA_WORKER__JAIL_MEMORY_BYTES and MEDIA_WORKER__JAIL_CPU_S."
            return problem("jail", f"No picture can be decoded: {details}", remedy)
    return ok("jail", "A picture was decoded in a confined child.")
