"""Whatever box a media may have, each format gives it back as exactly as it can tell."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.annotation_exchange.exporting import ExportedPicture
from service.annotation_exchange.formats import reader_of, writer_of
from service.annotation_exchange.importing import ImportOptions, documents_of
from service.annotation_exchange.records import Format
from service.annotation_exchange.spool import open_spool
from service.documents import AnnotationDocument
from service.labels import composed

MEDIA = UUID("0190a5c8-0000-7000-8000-000000000000")
# What the API takes (service/upload_request.py): no control characters but these two, no spaces around.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]).filter(lambda each: ord(each) >= 32 or each in "\n\t"),
    min_size=1,
    max_size=20,
).filter(lambda text: bool(text) and text == text.strip())
# XML 1.0 also lacks these two.
XML_TEXTS = TEXTS.filter(lambda text: not set(text) & {"\ufffe", "\uffff"})
# Labels hold nothing that cannot be seen, and are composed (service/annotation_request.py).
LABELS = (
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"], exclude_characters="\ufffe\uffff"),
        min_size=1,
        max_size=20,
    )
    .map(lambda text: composed(text.strip()))
    .filter(bool)
)


FRACTIONS = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1 - 1e-9, 1.0])
SPANS = st.tuples(FRACTIONS, FRACTIONS).map(sorted).filter(lambda ends: ends[1] - ends[0] >= 1e-9)


@st.composite
def pictures(draw: st.DrawFn) -> ExportedPicture:
    annotations = []
    for _ in range(draw(st.integers(1, 5))):
        (left, right), (top, bottom) = draw(SPANS), draw(SPANS)
        annotations.append(
            AnnotationDocument(
                id=uuid4(),
                label=draw(LABELS),
                confidence=draw(st.floats(0, 1)),
                bounding_box={"x": left, "y": top, "width": right - left, "height": bottom - top},
                text=draw(st.none() | XML_TEXTS),
                source="model:x@1",
            )
        )
    return ExportedPicture(MEDIA, draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000)), annotations)


def there_and_back(picture: ExportedPicture, file_format: Format) -> list[AnnotationDocument]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("a.json" if file_format is Format.COCO else "a.zip")
        with writer_of(file_format, path, confidences=True) as writer:
            assert writer.write(picture) == 0
        with open_spool() as spool:
            spool.fill(reader_of(file_format, path, described_by=None)())
            assert spool.problems(20) == []
            [[read]] = spool.pages(2)
            media: Any = {"_id": MEDIA, "content": {"width": picture.width, "height": picture.height}}
            options = ImportOptions("model:x@1", fractions=file_format is Format.YOLO)
            return documents_of(media, read.record, spool.boxes_of(read.record), options)


@pytest.mark.parametrize("file_format", Format)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(picture=pictures())
def test_boxes_come_back(picture: ExportedPicture, file_format: Format) -> None:
    back = there_and_back(picture, file_format)
    for was, now in zip(picture.annotations, back, strict=True):
        assert was["bounding_box"] is not None
        assert now["bounding_box"] is not None
        assert now["label"] == was["label"]
        assert now["confidence"] == pytest.approx(was["confidence"], abs=1e-6 if file_format is Format.YOLO else 0)
        if file_format is not Format.YOLO:
            assert now["text"] == was["text"]
        for side in ("x", "y", "width", "height"):
            pixels = picture.width if side in {"x", "width"} else picture.height
            exact = {Format.COCO: 2e-9, Format.YOLO: 3e-6, Format.VOC: 1.001 / pixels}[file_format]
            assert now["bounding_box"][side] == pytest.approx(was["bounding_box"][side], abs=exact)
    if file_format is Format.YOLO:
        # A centre and a width of six digits each may end half a millionth outside, and are cut off there.
        return
    # What has gone there and back once says the same the next time.
    again = there_and_back(ExportedPicture(MEDIA, picture.width, picture.height, back), file_format)
    assert [each["id"] for each in again] == [each["id"] for each in back]
