"""What `annotations import` and `export` read and write: annotations in three formats, embeddings in one."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import typer

from service.annotation_exchange.records import Format


class FileFormat(enum.StrEnum):
    COCO = Format.COCO.value
    VOC = Format.VOC.value
    YOLO = Format.YOLO.value
    EMBEDDINGS = "embeddings"


EMBEDDINGS: Final = FileFormat.EMBEDDINGS


def model_of(where: Sequence[str]) -> str | None:
    """The model that `--where model=NAME@VERSION` names; None without it. Raises typer.BadParameter for all else."""
    if not where:
        return None
    name, _, model = where[0].partition("=")
    if len(where) > 1 or name.strip() != "model" or not model.strip():
        raise typer.BadParameter("Embeddings are told apart by model=NAME@VERSION alone.", param_hint="--where")
    return model.strip()
