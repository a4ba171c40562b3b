"""The pages and what they load, from this package's own folder: nothing comes from another host."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

# The browser client: packed beside the page in a wheel, in its own folder in the repository.
_PACKED_CLIENT = _HERE / "client"
CLIENT = _PACKED_CLIENT if _PACKED_CLIENT.is_dir() else _HERE.parents[2] / "clients" / "js" / "src"

# Asked again on every visit, so that an edit shows; an unchanged file is answered with 304.
_NO_CACHE = "no-cache"

# The machine's own table of types differs between systems, and browsers run no module of another type.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page(name: str, content_security_policy: str) -> Response:
    """One of our HTML files, under its own policy."""
    return Response(
        (STATIC / name).read_bytes(),
        media_type="text/html; charset=utf-8",
        headers={"Cache-Control": _NO_CACHE, "Content-Security-Policy": content_security_policy, "Vary": "Accept"},
    )


class Assets(StaticFiles):
    """Style sheets, modules and icons; pages only through their routes, which set a policy."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or 304; 404 for a type that is not ours to serve."""
        media_type = _TYPES.get(Path(full_path).suffix)
        if media_type is None:
            raise HTTPException(404)
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update({"Cache-Control": _NO_CACHE, "Content-Type": media_type})
        return response
