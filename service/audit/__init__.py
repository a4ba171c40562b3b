"""The audit chains: entries in canonical JSON, each with the hash of the one before. Pure: nothing here does I/O."""

from __future__ import annotations

from service.audit.entry import (
    BUCKETS,
    ERASED_PREFIX,
    OPERATOR_ACTOR,
    SERVICE_ACTOR,
    AuditAction,
    Deed,
    Entry,
    Head,
    Note,
    PendingEntry,
    bucket_of,
    hash_of,
    is_reserved,
    linked,
    moment,
)
from service.audit.files import UnreadableFile, entry_line, heads_line, read_heads, verify_lines
from service.audit.verification import Anchor, ChainVerifier, Finding

__all__ = [
    "BUCKETS",
    "ERASED_PREFIX",
    "OPERATOR_ACTOR",
    "SERVICE_ACTOR",
    "Anchor",
    "AuditAction",
    "ChainVerifier",
    "Deed",
    "Entry",
    "Finding",
    "Head",
    "Note",
    "PendingEntry",
    "UnreadableFile",
    "bucket_of",
    "entry_line",
    "hash_of",
    "heads_line",
    "is_reserved",
    "linked",
    "moment",
    "read_heads",
    "verify_lines",
]
