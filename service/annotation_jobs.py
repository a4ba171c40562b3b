"""The jobs that annotate: one for each media, annotator and version, after the media has become READY."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID, uuid5

from service.annotation_writes import replace_annotations
from service.annotators import Annotator, Annotators, source_of
from service.documents import AnnotationDocument, MediaDocument
from service.errors import FailureCode, InvalidInput, ProcessingFailed
from service.lifecycle import MediaStatus
from service.models import AnnotationDraft, BoundingBox, Job, JobKind, Lane, ViewImage
from service.object_store import ObjectStore
from service.original_content import fetch_original, nameless_file
from service.processing.jail import Jail
from service.processing.wire import ViewRequest
from service.processing_jobs import revision_of
from service.stores import Stores

_JOB_FIELDS = ("processing.revision",)
_VIEW_FIELDS = ("content", "original", "focus")


async def enqueue_annotators(
    media_id: UUID, *, stores: Stores, annotators: Annotators, lane: Lane = Lane.STANDARD
) -> None:
    """Enqueue every annotator that wants the media, if it is READY, in its present revision.

    Repeats are free; another focus or another version of the annotator is another job.
    """
    if not annotators:
        return
    fields = {*_JOB_FIELDS, *(path for annotator in annotators.values() for path in annotator.fields)}
    media = await stores.media.get(media_id, fields=fields)
    if media is None or media["status"] != MediaStatus.READY:
        return
    for annotator in annotators.values():
        if annotator.wants(media):
            topic = f"{annotator.name}@{annotator.version}"
            generation = revision_of(media) + 1
            await stores.jobs.enqueue(media_id, JobKind.ANNOTATE, lane=lane, generation=generation, topic=topic)


async def run_annotator(
    job: Job, *, stores: Stores, object_store: ObjectStore, jail: Jail, annotators: Annotators
) -> None:
    """Have the annotator that `job` names look at its media, and replace what it said of it before.

    Whatever happens, the media's status is left alone, and nothing is written unless it is READY. Raises
    ProcessingFailed (its `retryable` says whether another attempt may help) or TemporarilyUnavailable.
    """
    annotator = _annotator_of(job, annotators)
    fields = {*annotator.fields, *_JOB_FIELDS, *(_VIEW_FIELDS if annotator.view is not None else ())}
    media = await stores.media.get(job.media_id, fields=fields)
    if media is None or media["status"] != MediaStatus.READY or not annotator.wants(media):
        return
    image = await _view(annotator, media, object_store, jail)
    drafts = await annotator.annotate(media, image)
    annotations = [_document(media["_id"], annotator, index, draft) for index, draft in enumerate(drafts)]
    revision = revision_of(media)
    if await _replace(media["_id"], annotator, annotations, stores, revision):
        return
    now = await stores.media.get(job.media_id, fields=())
    if now is not None and now["status"] == MediaStatus.READY:
        raise ProcessingFailed(FailureCode.INTERNAL, "The media was changed while it was looked at.", retryable=True)


async def _replace(
    media_id: UUID, annotator: Annotator, annotations: list[AnnotationDocument], stores: Stores, revision: int
) -> bool:
    """Let these take the place of what any version of the annotator has said; False if the media is not as it was."""
    beginning = f"model:{annotator.name}@"
    try:
        return await replace_annotations(
            media_id, lambda source: source.startswith(beginning), annotations, stores=stores, in_revision=revision
        )
    except InvalidInput as error:
        # The media is full: somebody has to make room, then the job may be run again.
        raise ProcessingFailed(FailureCode.INTERNAL, error.message) from error


def _annotator_of(job: Job, annotators: Annotators) -> Annotator:
    name = job.topic.partition("@")[0]
    if name not in annotators:
        # Another worker, or this one after its next start, may have it.
        raise ProcessingFailed(FailureCode.INTERNAL, f"This worker has no annotator {name}.", retryable=True)
    return annotators[name]


async def _view(annotator: Annotator, media: MediaDocument, object_store: ObjectStore, jail: Jail) -> ViewImage | None:
    wish, focus = annotator.view, media.get("focus")
    if wish is None:
        return None
    request = ViewRequest(
        content_type=media["content"]["type"],
        max_side=wish.max_side,
        focus=BoundingBox(**focus) if focus is not None and wish.cut_to_focus else None,
    )
    with nameless_file() as path:
        await fetch_original(media, path, object_store)
        return await jail.view(path, request)


def _document(media_id: UUID, annotator: Annotator, index: int, draft: AnnotationDraft) -> AnnotationDocument:
    """`draft` as it is stored. Its id is that of the same result at an earlier run: clients keep what they know."""
    source = source_of(annotator)
    return AnnotationDocument(
        id=uuid5(media_id, f"{source}:{index}"),
        label=draft.label,
        confidence=draft.confidence,
        bounding_box=None if draft.bounding_box is None else asdict(draft.bounding_box),
        text=draft.text,
        source=source,
    )
