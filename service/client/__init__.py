"""An asynchronous client of the API: upload photos and see them through to their signed URLs, read the feed.

    async with MediaClient("https://media.example/graphql", token) as client:
        for result in await client.upload([Path("cat.jpg")], purpose="COMMUNITY"):
            print(result.path, result.error or result.media.renditions)

`create_uploads`, `send`, `complete` and `follow` are the steps of `upload`, each safe to repeat. What is to survive the
end of the process goes through an `UploadQueue`.
"""

from service.client.answers import (
    DisplayHint,
    Failure,
    FeedPage,
    FileDetails,
    FollowedMedia,
    OwnedMedia,
    Rendition,
    StatusUpdate,
    UploadPart,
    UploadPolicy,
    UploadSession,
)
from service.client.completeness import see_complete
from service.client.errors import (
    ApiError,
    ClientError,
    FileChanged,
    InvalidConnection,
    NotReady,
    StorageRefused,
    TargetExpired,
    Unreachable,
    UnusableFile,
    UnusableQueue,
)
from service.client.local_file import LocalFile, inspect_file
from service.client.media_client import MediaClient
from service.client.outages import OnOutage, Outage
from service.client.readiness import see_ready
from service.client.tracking import Progress, UploadResult
from service.client.upload_queue import QueuedFile, UploadQueue

__all__ = [
    "ApiError",
    "ClientError",
    "DisplayHint",
    "Failure",
    "FeedPage",
    "FileChanged",
    "FileDetails",
    "FollowedMedia",
    "InvalidConnection",
    "LocalFile",
    "MediaClient",
    "NotReady",
    "OnOutage",
    "Outage",
    "OwnedMedia",
    "Progress",
    "QueuedFile",
    "Rendition",
    "StatusUpdate",
    "StorageRefused",
    "TargetExpired",
    "Unreachable",
    "UnusableFile",
    "UnusableQueue",
    "UploadPart",
    "UploadPolicy",
    "UploadQueue",
    "UploadResult",
    "UploadSession",
    "inspect_file",
    "see_complete",
    "see_ready",
]
