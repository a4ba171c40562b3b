"""Documents that were registered before they are asked for: reading the manifests that clients' compilers write.

Three formats, told apart by what a file holds, and plain documents:

- Relay's `persisted_queries.json` and graphql-codegen's `persisted-documents.json`: an object from id to text, where
  ids are MD5, SHA-1 or SHA-256 of the text (https://relay.dev/docs/guides/persisted-queries/, and `persistedDocuments`
  of https://the-guild.dev/graphql/codegen/plugins/presets/preset-client).
- Apollo's operation manifest, `{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [...]}`, each
  with `id`, `name`, `type` and `body` (https://www.apollographql.com/docs/graphos/platform/security/persisted-queries).
- `.graphql` files, whose name is the id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.errors import ConfigurationError

_APOLLO_FORMAT = "apollo-persisted-query-manifest"
_HASHES = {32: "md5", 40: "sha1", 64: "sha256"}
_HEX = re.compile(r"[0-9a-f]+")
_SHA256_PREFIX = "sha256:"
_SUFFIXES = (".json", ".graphql", ".gql")


@dataclass(frozen=True, slots=True)
class TrustedDocument:
    """One registered document: the id clients name it by, its text, and what to call it in messages."""

    id: str
    text: str
    label: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id it answers to: its own, and the two forms of its SHA-256."""
        digest = sha256_hex(self.text)
        return (self.id, digest, _SHA256_PREFIX + digest)


def sha256_hex(text: str) -> str:
    """The SHA-256 of a document's text in UTF-8, as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_trusted_documents(path: Path) -> list[TrustedDocument]:
    """The documents of a manifest, or of every manifest and `.graphql` file of a folder.

    Raises ConfigurationError with one sentence for each file that cannot be read and each id that is not the hash it
    looks like, or that stands for two texts.
    """
    problems: list[str] = []
    documents: dict[str, TrustedDocument] = {}
    for file in _files(path):
        try:
            found = list(_read(file))
        except (OSError, ValueError, TypeError) as error:
            problems.append(f"{file}: {error}")
            continue
        for document in found:
            known = documents.setdefault(document.id, document)
            if known.text != document.text:
                problems.append(f"{document.label}: its id stands for another document too, {known.label}")
            elif problem := _hash_problem(document):
                problems.append(f"{document.label}: {problem}")
    if not documents and not problems:
        problems.append(f"{path}: holds no manifest and no .graphql file")
    if problems:
        raise ConfigurationError("\n".join(problems))
    return list(documents.values())


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())


def _read(file: Path) -> Iterator[TrustedDocument]:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".json":
        yield TrustedDocument(file.stem, text, str(file))
        return
    manifest = orjson.loads(text)
    if not isinstance(manifest, dict):
        raise TypeError("is neither an object from ids to documents nor an Apollo operation manifest")
    entries = _apollo_entries(manifest) if "format" in manifest else _plain_entries(manifest)
    for id_, body, name in entries:
        if not isinstance(id_, str) or not isinstance(body, str) or not id_ or not body.strip():
            raise TypeError(f"the entry {name or id_!r} needs an id and a document, both as strings")
        yield TrustedDocument(id_, body, f"{file}: {name or id_}")


def _plain_entries(manifest: Mapping[str, Any]) -> Iterator[tuple[Any, Any, str | None]]:
    for id_, body in manifest.items():
        named = re.search(r"\b(?:query|mutation|subscription)\s+(\w+)", body) if isinstance(body, str) else None
        yield id_, body, named[1] if named else None


def _apollo_entries(manifest: Mapping[str, Any]) -> Iterator[tuple[Any, Any, str | None]]:
    if manifest["format"] != _APOLLO_FORMAT or manifest.get("version") != 1:
        raise ValueError(f"only version 1 of {_APOLLO_FORMAT} is known")
    operations = manifest.get("operations")
    if not isinstance(operations, list) or not all(isinstance(entry, dict) for entry in operations):
        raise TypeError("`operations` must be a list of objects")
    for entry in operations:
        yield entry.get("id"), entry.get("body"), entry.get("name")


def _hash_problem(document: TrustedDocument) -> str | None:
    digest = document.id.removeprefix(_SHA256_PREFIX)
    algorithm = _HASHES.get(len(digest)) if _HEX.fullmatch(digest) else None
    if algorithm is None:
        return "its id begins with sha256: but is none" if document.id != digest else None
    actual = hashlib.new(algorithm, document.text.encode(), usedforsecurity=False).hexdigest()
    return None if actual == digest else f"its id is not the {algorithm.upper()} of its text, which is {actual}"
