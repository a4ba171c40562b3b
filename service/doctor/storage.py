"""The buckets: do they answer and keep what is written, are they closed to strangers, and may browsers upload?"""

from __future__ import annotations

from service.doctor.findings import Finding, ok, problem, warning
from service.errors import ConfigurationError, TemporarilyUnavailable
from service.http_probe import NoAnswer, probe
from service.object_keys import probe_key
from service.object_store import ObjectStore
from service.settings import StorageSettings


async def check_storage(settings: StorageSettings, *, writes: bool) -> list[Finding]:
    """Both buckets, their CORS rules, and this clock against theirs; with `writes`, an object on its way in and out."""
    try:
        store = ObjectStore(settings)
    except ConfigurationError as error:
        return [problem("storage", str(error))]
    try:
        # Both buckets tell of the same clock.
        if sentences := list(dict.fromkeys(await store.check())):
            return [problem("storage", sentence) for sentence in sentences]
        kept = [await _keeping(store)] if writes else []
    finally:
        await store.close()
    names = f"{settings.upload_bucket} and {settings.media_bucket}"
    return [
        ok("storage", f"{names} answer, at a clock that agrees with this one."),
        *kept,
        *[await _privacy(settings, bucket) for bucket in (settings.upload_bucket, settings.media_bucket)],
        _origins(settings),
    ]


async def _keeping(store: ObjectStore) -> Finding:
    """A server may answer for its buckets and yet have lost what keeps their objects."""
    bucket = store.media_bucket
    remedy = "See the S3 server's log and its disk; a worker needs s3:PutObject, s3:GetObject and s3:DeleteObject."
    try:
        is_kept = await store.keeps(bucket, probe_key())
    except TemporarilyUnavailable as error:
        reason = error.__cause__ or error
        return problem("storage", f"{bucket} does not write, read and delete a test object: {reason}.", remedy)
    if not is_kept:
        return problem("storage", f"{bucket} does not return a test object as it was written.", remedy)
    return ok("storage", f"{bucket} takes an object, returns it and deletes it.")


async def _privacy(settings: StorageSettings, bucket: str) -> Finding:
    base = settings.public_endpoint or settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    try:
        answer = await probe(f"{base.rstrip('/')}/{bucket}/?list-type=2&max-keys=1")
    except NoAnswer as error:
        remedy = "Clients upload there: correct MEDIA_STORAGE__PUBLIC_ENDPOINT, or what stands before it."
        return problem("storage", f"{base} does not answer: {error}.", remedy)
    if answer.status < 400:
        return problem("storage", f"Anybody can list bucket {bucket}.", "Block all public access to it.")
    return ok("storage", f"{bucket} is closed to strangers (status {answer.status}).")


def _origins(settings: StorageSettings) -> Finding:
    if not settings.allowed_origins:
        text = "No origin may upload from a browser; apps still can."
        return warning("cors", text, "If a web client is to upload, list its origin in MEDIA_STORAGE__ALLOWED_ORIGINS.")
    return ok("cors", f"{', '.join(settings.allowed_origins)} may upload from a browser.")
