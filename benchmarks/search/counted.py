"""`python -m benchmarks.search.counted api|worker`: the service, which writes the name of each call to S3 to a file.

The file is named by CALLS_TO_STORAGE. Presigned requests, which clients send, are none of its calls.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from botocore.client import BaseClient


def count() -> None:
    """From now on, in this process."""
    path, call = Path(os.environ["CALLS_TO_STORAGE"]), BaseClient._make_api_call  # type: ignore[attr-defined]

    def counted(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name == "s3":
            with path.open("a") as file:
                file.write(f"{operation}\n")
        return call(client, operation, parameters)

    BaseClient._make_api_call = counted  # type: ignore[attr-defined]


if __name__ == "__main__":
    count()
    from service.__main__ import app

    app()
