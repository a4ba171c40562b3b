"""A small asynchronous client of the API: upload photos and see them through to their signed URLs, read the feed.

    async with MediaClient("https://media.example/graphql", token) as client:
        for result in await client.upload([Path("cat.jpg")], purpose="COMMUNITY"):
            print(result.path, result.error or result.media.renditions)

`create_uploads`, `send`, `complete` and `follow` are the steps of `upload`, each safe to repeat.
"""

from service.client.answers import (
    DisplayHint,
    Failure,
    FeedPage,
    FileDetails,
    Rendition,
    StatusUpdate,
    UploadSession,
)
from service.client.errors import (
    ApiError,
    ClientError,
    InvalidConnection,
    NotReady,
    StorageRefused,
    Unreachable,
    UnusableFile,
)
from service.client.local_file import LocalFile, inspect_file
from service.client.media_client import MediaClient
from service.client.uploading import Progress, UploadResult

__all__ = [
    "ApiError",
    "ClientError",
    "DisplayHint",
    "Failure",
    "FeedPage",
    "FileDetails",
    "InvalidConnection",
    "LocalFile",
    "MediaClient",
    "NotReady",
    "Progress",
    "Rendition",
    "StatusUpdate",
    "StorageRefused",
    "Unreachable",
    "UnusableFile",
    "UploadResult",
    "UploadSession",
    "inspect_file",
]
