"""What is found in media once they are READY: by real Tesseract, the real jail, on real servers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import ceil, sqrt
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from PIL import Image

from schema.global_id import decode_id, encode_id
from service.annotation_jobs import enqueue_annotators, run_annotator
from service.annotators import Annotator, Annotators, ViewWish
from service.annotators.registry import open_annotators
from service.annotators.tesseract import Tesseract, find_tesseract
from service.documents import MediaDocument
from service.errors import ConfigurationError, ProcessingFailed
from service.models import AnnotationDraft, BoundingBox, Job, JobKind, Lane, ViewImage
from service.settings import AnnotatorSettings
from service.worker_process import build_worker
from tests.api_client import ApiClient
from tests.documents import MOMENT, ready_media
from tests.integration.conftest import RunningService
from tests.labels import LABEL, label_picture, photographed, place_of, require_tesseract
from tests.photos import phone_photo, small_photo

ANNOTATIONS = """
query Annotations($id: ID!, $label: String) { media(id: $id) { status annotations(label: $label, first: 100) { nodes {
  id label confidence text source boundingBox { x y width height }
} } } }
"""
Found = list[dict[str, Any]]
Jobs = list[dict[str, Any]]


class Tagger:
    """An annotator that says what it is told to say, or fails."""

    name = "tagger"
    view: ViewWish | None = None
    fields: Sequence[str] = ("kind",)

    def __init__(self, *labels: str, version: str = "1", failing: bool = False, confidence: float = 0.5) -> None:
        self.version = version
        self.calls = 0
        self._labels, self._failing, self._confidence = labels, failing, confidence

    def wants(self, media: MediaDocument) -> bool:
        return media["kind"] == "IMAGE"

    async def annotate(self, media: MediaDocument, image: ViewImage | None) -> Sequence[AnnotationDraft]:
        self.calls += 1
        if self._failing:
            raise RuntimeError("the model broke")
        return [AnnotationDraft(label, self._confidence) for label in self._labels]


@asynccontextmanager
async def annotating(service: RunningService, annotators: Annotators) -> AsyncIterator[None]:
    """A worker with `annotators`, for as long as the block lasts."""
    worker = build_worker(service.runtime, service.jail, annotators)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


@pytest.fixture(scope="module")
async def installed(service: RunningService) -> Annotators:
    require_tesseract()
    return await open_annotators(AnnotatorSettings(), stores=service.runtime.stores)


def uuid_of(media_id: str) -> UUID:
    decoded = decode_id(media_id)
    assert decoded is not None
    return decoded[1]


async def ended(service: RunningService, media_id: str, kind: JobKind = JobKind.ANNOTATE, count: int = 1) -> Jobs:
    """The media's jobs of a kind, once there are `count` or more and none is open."""
    jobs = service.runtime.database.jobs
    async with asyncio.timeout(30):
        while True:
            found: Jobs = await jobs.find({"media_id": uuid_of(media_id), "kind": kind.value}).to_list(None)
            if len(found) >= count and all(job["state"] != "open" for job in found):
                return found
            await asyncio.sleep(0.02)


async def found_in(client: ApiClient, media_id: str, label: str | None = None) -> Found:
    media = (await client.run(ANNOTATIONS, id=media_id, label=label))["media"]
    assert media["status"] == "READY"
    nodes: Found = media["annotations"]["nodes"]
    return nodes


async def ready(service: RunningService, client: ApiClient, *files: bytes, **more: Any) -> list[str]:
    """Media of `files`, READY and rendered, without annotators."""
    async with service.working():
        ids = [await client.send(file, **more) for file in files]
        await client.wait(*ids)
        for media_id in ids:
            await ended(service, media_id, JobKind.RENDER)
    return ids


async def known(service: RunningService, owner: str) -> str:
    """The id of a media that is READY as far as the database knows."""
    bucket = service.settings.storage.upload_bucket
    media = ready_media(owner_id=owner, original={"bucket": bucket, "key": f"community/raw/{uuid4()}.jpg"})
    await service.runtime.database.media.insert_one(media)
    return encode_id("Media", media["_id"])


def job_for(media_id: str, topic: str = "tagger@1") -> Job:
    media = uuid_of(media_id)
    return Job("job", JobKind.ANNOTATE, media, Lane.STANDARD, 1, 1, MOMENT, topic=topic)


async def run(service: RunningService, media_id: str, annotator: Annotator) -> None:
    """One run of `annotator` on a media, as its job would."""
    runtime = service.runtime
    await run_annotator(
        job_for(media_id, f"{annotator.name}@{annotator.version}"),
        stores=runtime.stores,
        object_store=runtime.object_store,
        jail=service.jail,
        annotators={annotator.name: annotator},
    )


def _stored(label: str, confidence: float) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "label": label,
        "confidence": confidence,
        "bounding_box": None,
        "text": None,
        "source": "model:other@1",
        "created_at": MOMENT,
    }


async def labels_of(service: RunningService, media_id: str) -> list[str]:
    media = await service.runtime.stores.media.get(uuid_of(media_id), fields=("annotations",))
    assert media is not None
    return sorted(each["label"] for each in media.get("annotations", ()))


async def assert_read_where_it_stands(owner: ApiClient, media_id: str) -> None:
    """That every line of the label is an annotation at its place, and its facts are told."""
    lines = await found_in(owner, media_id, "text")
    read = {line["text"].replace(" ", ""): line for line in lines}
    assert {line.replace(" ", "") for line in LABEL} - {"Protein10g"} <= read.keys(), "letters, if not every space"
    for index, line in enumerate(LABEL):
        if (found := read.get(line.replace(" ", ""))) is None:
            continue
        box, (left, middle) = found["boundingBox"], place_of(index)
        assert box["x"] == pytest.approx(left, abs=0.02)
        assert box["y"] < middle < box["y"] + box["height"]
        assert box["height"] < 0.06
        assert 0.5 < found["confidence"] <= 1
        assert found["source"] == "model:food-label@1"
    facts = {each["label"]: each for each in await found_in(owner, media_id) if each["label"].startswith("nutrition:")}
    expected = {
        "nutrition:energy_kj": "1046 kJ per 100 g",
        "nutrition:energy_kcal": "250 kcal per 100 g",
        "nutrition:carbohydrate_g": "42 g per 100 g",
        "nutrition:salt_g": "0.8 g per 100 g",
    }
    assert expected.items() <= {label: fact["text"] for label, fact in facts.items()}.items()
    assert facts["nutrition:salt_g"]["boundingBox"] == read["Salt0.8g"]["boundingBox"]


async def test_a_label_is_read_where_it_stands_and_only_in_the_focus(
    service: RunningService, installed: Annotators
) -> None:
    """Both photographed lying on its side."""
    owner = service.client("reader")
    focus = {"x": 0.05, "y": 0.28, "width": 0.9, "height": 0.5}
    async with annotating(service, installed):
        whole = await owner.send(photographed(label_picture(), lying=True), purpose="FOOD_LABEL")
        file = photographed(label_picture(headline="Crunchy oat clusters"), lying=True)
        media_id = await owner.send(file, purpose="FOOD_LABEL", details={"focus": focus})
        assert await owner.wait(whole, media_id) == {whole: "READY", media_id: "READY"}
        for each in (whole, media_id):
            assert {job["state"] for job in await ended(service, each)} == {"done"}
    await assert_read_where_it_stands(owner, whole)
    read = {line["text"].replace(" ", ""): line["boundingBox"] for line in await found_in(owner, media_id, "text")}
    assert not any("Crunchy" in text for text in read)
    left, middle = place_of(5)
    assert read["Salt0.8g"]["x"] == pytest.approx(left, abs=0.02)
    assert read["Salt0.8g"]["y"] < middle < read["Salt0.8g"]["y"] + read["Salt0.8g"]["height"]


async def test_another_focus_is_read_anew(service: RunningService, installed: Annotators) -> None:
    owner = service.client("refocused")
    update = """mutation M($input: UpdateMediaInput!) { updateMedia(input: $input) { userErrors { code } } }"""
    async with annotating(service, {"food-label": installed["food-label"]}):
        media_id = await owner.send(photographed(label_picture()), purpose="FOOD_LABEL")
        await owner.wait(media_id)
        assert len(await ended(service, media_id)) == 1
        await assert_read_where_it_stands(owner, media_id)
        focus = {"x": 0, "y": 0.28, "width": 1, "height": 0.2}
        await owner.run(update, input={"idempotencyKey": "refocus-1", "id": media_id, "focus": focus})
        assert len(await ended(service, media_id, count=2)) == 2
    texts = [line["text"] for line in await found_in(owner, media_id, "text")]
    assert any("Nutrition" in text for text in texts)
    assert not any("Salt" in text for text in texts)


async def test_a_copy_is_flagged_and_another_photo_is_not(service: RunningService, installed: Annotators) -> None:
    owner, stranger = service.client("twin"), service.client("nobody-else")
    original = phone_photo(800, 600, 1, seed=5)
    picture = Image.open(io.BytesIO(original))
    again = io.BytesIO()
    picture.resize((600, 450)).save(again, "JPEG", quality=60)
    async with annotating(service, installed):
        first = await owner.send(original)
        await owner.wait(first)
        others = [await owner.send(file) for file in (again.getvalue(), phone_photo(800, 600, 1, seed=6))]
        foreign = await stranger.send(again.getvalue())
        await owner.wait(*others)
        await stranger.wait(foreign)
        for media_id in (first, *others, foreign):
            await ended(service, media_id)
    copy, different = others
    [flag] = await found_in(owner, copy)
    assert (flag["label"], flag["text"], flag["source"]) == ("near-duplicate", first, "model:near-duplicate@2")
    assert flag["confidence"] >= 1 - 4 / 64
    for media_id in (first, different):
        assert await found_in(owner, media_id) == []
    assert await found_in(stranger, foreign) == [], "another owner's pictures are nobody's business"
    assert await found_in(stranger, copy) == [], "only its owner is told"


async def test_flat_pictures_are_like_none(service: RunningService, installed: Annotators) -> None:
    owner = service.client("painter")
    flat = []
    for colour in ("white", "#204080"):
        encoded = io.BytesIO()
        Image.new("RGB", (400, 300), colour).save(encoded, "JPEG")
        flat.append(encoded.getvalue())
    for media_id in await ready(service, owner, *flat):
        await run(service, media_id, installed["near-duplicate"])
        assert await found_in(owner, media_id) == []
        finder = installed["near-duplicate"]
        media = await service.runtime.stores.media.get(uuid_of(media_id), fields=finder.fields)
        assert media is not None
        assert not finder.wants(media)


async def test_an_annotator_that_breaks_harms_nobody(service: RunningService) -> None:
    owner = service.client("broken")
    tagger = Tagger(failing=True)
    async with annotating(service, {"tagger": tagger}):
        media_id = await owner.send(small_photo(31))
        assert await owner.wait(media_id) == {media_id: "READY"}
        [job] = await ended(service, media_id)
    assert (job["state"], job["attempt"], tagger.calls) == ("dead", 5, 5)
    assert await found_in(owner, media_id) == []
    media = await service.runtime.stores.media.get(uuid_of(media_id), fields=("failure", "status_history"))
    assert media is not None
    assert "failure" not in media
    assert media["status_history"][-1]["status"] == "READY"


async def test_the_same_again_makes_no_doubles(service: RunningService) -> None:
    owner = service.client("repeated")
    media_id = await known(service, "repeated")
    await run(service, media_id, Tagger("cat", "garden"))
    first = await found_in(owner, media_id)
    await run(service, media_id, Tagger("cat", "garden"))
    assert await found_in(owner, media_id) == first
    await run(service, media_id, Tagger("dog", version="2"))
    [dog] = await found_in(owner, media_id)
    assert (dog["label"], dog["source"]) == ("dog", "model:tagger@2")
    assert dog["id"] not in {each["id"] for each in first}
    stores = service.runtime.stores
    for _ in range(2):
        await enqueue_annotators(uuid_of(media_id), stores=stores, annotators={"tagger": Tagger(version="3")})
    jobs = await service.runtime.database.jobs.count_documents({"media_id": uuid_of(media_id), "kind": "annotate"})
    assert jobs == 1
    await service.runtime.database.jobs.delete_many({"media_id": uuid_of(media_id), "kind": "annotate"})


async def test_nothing_is_lost_where_much_is_found(service: RunningService) -> None:
    media_id, viewer = await known(service, "crowded"), service.client("crowded")
    of_a_person = {**_stored("mine", 0.01), "source": "user:crowded"}
    of_others = [_stored(f"other-{n}", n / 100) for n in range(60)]
    await service.runtime.database.media.update_one(
        {"_id": uuid_of(media_id)}, {"$set": {"annotations": [of_a_person, *of_others]}}
    )
    await run(service, media_id, Tagger(*(f"tag-{n}" for n in range(38)), confidence=0.2))
    assert len(await found_in(viewer, media_id)) == 99
    await run(service, media_id, Tagger(*(f"tag-{n}" for n in range(39)), confidence=0.2, version="2"))
    kept = [each["label"] for each in await found_in(viewer, media_id)]
    assert sorted(kept) == sorted(["mine", *(f"other-{n}" for n in range(60)), *(f"tag-{n}" for n in range(39))])
    await run(service, media_id, Tagger("tag-0", version="3"))
    assert len(await found_in(viewer, media_id)) == 62
    full = Tagger(*(f"tag-{n}" for n in range(150)), version="4")
    with pytest.raises(ProcessingFailed, match="200 different labels") as refused:
        await run(service, media_id, full)
    assert not refused.value.retryable


async def test_a_thousand_at_once_with_boxes_and_texts_pass_every_limit(service: RunningService) -> None:
    media_id, owner = await known(service, "prolific"), service.client("prolific")
    box = {"x": 0.123456789, "y": 0.123456789, "width": 0.3456789123, "height": 0.3456789123}
    each = {"label": "thing", "confidence": 0.123456789, "boundingBox": box, "text": "some recognised text"}
    said = {"idempotencyKey": "all", "mediaId": media_id, "source": "model:m@1", "annotations": [each] * 1_000}
    annotate = """mutation ($input: AnnotateMediaInput!) { annotateMedia(input: $input) {
      __typename media { id annotations(first: 100) { nodes { id label } } }
      annotations { __typename id label confidence source createdAt text boundingBox { __typename x y width height } }
      userErrors { code message field retryable retryAfterMs } } }"""
    made = (await owner.run(annotate, input=said))["annotateMedia"]
    assert (len({each["id"] for each in made["annotations"]}), made["userErrors"]) == (1_000, [])
    delete = """mutation ($input: DeleteAnnotationsInput!) { deleteAnnotations(input: $input) {
      __typename deletedIds userErrors { __typename code message field retryable retryAfterMs } } }"""
    ids = [each["id"] for each in made["annotations"]]
    assert {each["text"] for each in made["annotations"]} == {each["text"]}
    gone = (await owner.run(delete, input={"idempotencyKey": "none", "ids": ids}))["deleteAnnotations"]
    assert (gone["deletedIds"], gone["userErrors"]) == (ids, [])
    assert await found_in(owner, media_id) == []
    again = (await owner.run(delete, input={"idempotencyKey": "gone", "ids": ids}))["deleteAnnotations"]
    assert [error["field"] for error in again["userErrors"]] == [["ids", str(index)] for index in range(1_000)]


async def test_a_page_of_media_shows_all_alike_however_often_it_is_asked_for(service: RunningService) -> None:
    """Of media with few annotations and of those whose have moved; also once the query is compiled."""
    owner, expected = service.client("collector"), {}
    for count in (3, 150, 5, 120, 0):
        media_id = await known(service, "collector")
        await run(service, media_id, Tagger(*(f"tag-{n % 7}" for n in range(count))))
        expected[media_id] = min(count, 4)
    query = """{ mediaList(filter: {ownerId: "collector"}) { nodes { id annotations(first: 4) {
      nodes { label } pageInfo { hasNextPage } } } } }"""
    answers = [await owner.run(query) for _ in range(6)]
    assert all(answer == answers[0] for answer in answers)
    nodes = answers[0]["mediaList"]["nodes"]
    assert {each["id"]: len(each["annotations"]["nodes"]) for each in nodes} == expected
    assert sum(each["annotations"]["pageInfo"]["hasNextPage"] for each in nodes) == 3


async def test_nothing_is_written_to_a_media_that_went_or_changed_meanwhile(service: RunningService) -> None:
    owner = service.client("leaving")
    deleted, revised = [await known(service, "leaving") for _ in range(2)]

    class Slow(Tagger):
        async def annotate(self, media: MediaDocument, image: ViewImage | None) -> Sequence[AnnotationDraft]:
            if media["_id"] == uuid_of(deleted):
                await owner.delete(deleted)
            else:
                await service.runtime.database.media.update_one(
                    {"_id": media["_id"]}, {"$set": {"processing.revision": 7}}
                )
            return await super().annotate(media, image)

    await run(service, deleted, Slow("late"))
    with pytest.raises(ProcessingFailed) as refused:
        await run(service, revised, Slow("late"))
    assert refused.value.retryable
    assert await labels_of(service, deleted) == await labels_of(service, revised) == []
    later = Tagger("later")
    await run(service, deleted, later)
    assert later.calls == 0
    assert await labels_of(service, deleted) == []


async def test_a_deleted_media_keeps_no_annotations(service: RunningService, no_deletion_window: None) -> None:
    owner = service.client("forgetful")
    media_id = await known(service, "forgetful")
    await run(service, media_id, Tagger("private thing"))
    async with service.working():
        await owner.delete(media_id)
        await ended(service, media_id, JobKind.DELETE)
    assert "annotations" not in (await service.runtime.database.media.find_one({"_id": uuid_of(media_id)}) or {})


async def test_an_annotator_sees_what_it_wished_to_see(service: RunningService) -> None:
    owner = service.client("seen")
    [media_id] = await ready(service, owner, phone_photo(320, 240, 6, seed=3))
    seen: list[ViewImage] = []

    class Looker(Tagger):
        view = ViewWish(max_side=100)

        async def annotate(self, media: MediaDocument, image: ViewImage | None) -> Sequence[AnnotationDraft]:
            assert image is not None
            seen.append(image)
            return [AnnotationDraft("seen", 1.0, image.box)]

    await run(service, media_id, Looker())
    [image] = seen
    assert (image.mode, image.width, image.height) == ("RGB", 75, 100)
    assert len(image.body) == 3 * 75 * 100
    assert image.box == BoundingBox(0, 0, 1, 1)
    [annotation] = await found_in(owner, media_id)
    assert annotation["boundingBox"] == {"x": 0, "y": 0, "width": 1, "height": 1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"enabled": ("food-lable",)}, "names no annotator: food-lable"),
        ({"languages": ("eng", "tlh")}, "tesseract-ocr-tlh"),
    ],
)
async def test_settings_that_cannot_be_met_are_told(service: RunningService, given: Any, said: str) -> None:
    require_tesseract()
    with pytest.raises(ConfigurationError, match=said):
        await open_annotators(AnnotatorSettings(**given), stores=service.runtime.stores)


async def test_without_tesseract_the_others_remain(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    stores = service.runtime.stores
    assert set(await open_annotators(AnnotatorSettings(), stores=stores)) == {"near-duplicate"}
    with pytest.raises(ConfigurationError, match="apt-get install tesseract-ocr"):
        await open_annotators(AnnotatorSettings(enabled=("food-label",)), stores=stores)
    assert set(await open_annotators(AnnotatorSettings(enabled=()), stores=stores)) == set()


def seen(picture: Image.Image) -> ViewImage:
    """`picture` as the jail shows it."""
    mode: Literal["L", "RGB"] = "L" if picture.mode == "L" else "RGB"
    pixels = picture.convert(mode).tobytes()
    return ViewImage(pixels, mode, picture.width, picture.height, BoundingBox(0, 0, 1, 1))


async def tesseract(*, timeout_s: float) -> Tesseract:
    require_tesseract()
    reader = await find_tesseract(("eng",), timeout_s=timeout_s)
    assert reader is not None
    return reader


async def test_reading_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ProcessingFailed, match=r"0\.05 seconds") as refused:
        await (await tesseract(timeout_s=0.05)).read(seen(label_picture().resize((2400, 3200))))
    assert refused.value.retryable


async def test_what_tesseract_cannot_read_is_told_in_its_words() -> None:
    cut_short = replace(seen(label_picture()), body=b"")
    with pytest.raises(ProcessingFailed, match="tesseract ended with 1: ") as refused:
        await (await tesseract(timeout_s=30)).read(cut_short)
    assert refused.value.retryable


async def test_tesseract_reads_grey_and_colour_behind_a_header_of_ours() -> None:
    reader, label = await tesseract(timeout_s=30), label_picture()
    for picture in (label.convert("RGB"), label.convert("L")):
        assert any(word.text == "Salt" for line in await reader.read(seen(picture)) for word in line)


async def test_what_another_decoder_would_know_is_only_pixels_to_tesseract() -> None:
    """A picture within the pixels: were it decoded as what it is, text would be found."""
    encoded = io.BytesIO()
    label_picture().save(encoded, "PNG")
    side = ceil(sqrt(len(encoded.getvalue())))
    disguised = ViewImage(encoded.getvalue().ljust(side * side, b"\xff"), "L", side, side, BoundingBox(0, 0, 1, 1))
    lines = await (await tesseract(timeout_s=30)).read(disguised)
    assert not any(word.text == "Salt" for line in lines for word in line)
