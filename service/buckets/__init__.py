"""The two buckets as code: what is declared, how a server differs, and how that is put right. Blocking.

`service.object_store` runs all of this in threads.
"""

from __future__ import annotations

from service.buckets.declaration import BucketDeclaration, declare_buckets
from service.buckets.health import MISSING_CODES, bucket_problems
from service.buckets.setup import BucketReport, apply_declaration, compare_bucket

__all__ = [
    "MISSING_CODES",
    "BucketDeclaration",
    "BucketReport",
    "apply_declaration",
    "bucket_problems",
    "compare_bucket",
    "declare_buckets",
]
