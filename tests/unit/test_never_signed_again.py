"""From the write on that takes a media away nothing of it is signed, whatever happened before and whoever asks."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schema.global_id import encode_id
from service.access import ANONYMOUS, MODERATOR_ROLE, Viewer
from service.documents import MediaDocument
from service.lifecycle import ALLOWED_TRANSITIONS, MediaStatus
from service.models import MediaPurpose, Visibility
from service.policies import ORIGINAL_URL_LIFETIME_S, POLICIES
from tests.documents import ready_media, renditions_of
from tests.unit.conftest import Library

ANNA, BERT = Viewer("anna"), Viewer("bert")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))
INSIDERS = (ANNA, MODERATOR)
NOW = 1_767_250_000.0

# Every way to an address, and the roots through which media are read.
SIGNED = """
fragment Signed on Media {
  id
  display { url urlExpiresAt }
  sized: display(hint: { width: 360, devicePixelRatio: 2, accept: [WEBP] }) { url }
  renditions { url urlExpiresAt unsignedUrl }
  small: renditions(names: [THUMBNAIL], formats: [JPEG]) { url }
  srcset(accept: [WEBP])
  original { url expiresAt }
}
"""
QUERY = f"""
query Everything($id: ID!, $purpose: MediaPurpose!) {{
  media(id: $id) {{ ...Signed }}
  node(id: $id) {{ ...Signed }}
  nodes(ids: [$id]) {{ ...Signed }}
  feed(purpose: $purpose, first: 1) {{ nodes {{ ...Signed }} }}
  mediaList(first: 1) {{ edges {{ node {{ ...Signed }} }} }}
}}
{SIGNED}
"""


class Event(enum.Enum):
    TURN_PUBLIC = enum.auto()
    TURN_PRIVATE = enum.auto()
    # The objects follow the visibility a while after it changed.
    MOVE = enum.auto()
    DAY_PASSES = enum.auto()
    MINUTE_PASSES = enum.auto()
    CLOCK_SET_BACK = enum.auto()


@dataclass
class State:
    """What a media is at the moment, and what was ever given out of it."""

    media: MediaDocument
    library: Library
    now: float = NOW
    folder: Visibility = Visibility.PUBLIC
    seen: list[str] = field(default_factory=list)

    async def take(self, step: Event | MediaStatus) -> None:
        match step:
            case MediaStatus():
                if step in ALLOWED_TRANSITIONS[MediaStatus(self.media["status"])]:
                    await self._write(status=step.value)
            case Event.TURN_PUBLIC | Event.TURN_PRIVATE:
                wanted = Visibility.PUBLIC if step is Event.TURN_PUBLIC else Visibility.PRIVATE
                if wanted in POLICIES[self.purpose].allowed_visibilities:
                    await self._write(visibility=wanted.value)
            case Event.MOVE:
                self.folder = Visibility(self.media["visibility"])
                await self._write(renditions=renditions_of(self.media["_id"], self.purpose, self.folder))
            case _:
                self.now += {Event.DAY_PASSES: 86_400, Event.MINUTE_PASSES: 60, Event.CLOCK_SET_BACK: -200_000}[step]

    @property
    def purpose(self) -> MediaPurpose:
        return MediaPurpose(self.media["purpose"])

    @property
    def is_ready(self) -> bool:
        return self.media["status"] == MediaStatus.READY

    @property
    def is_public(self) -> bool:
        return self.media["visibility"] == Visibility.PUBLIC

    async def _write(self, **changed: Any) -> None:
        self.media.update(changed)  # type: ignore[typeddict-item]
        await self.library.runtime.database.media.update_one({"_id": self.media["_id"]}, {"$set": changed})

    async def check(self) -> None:
        for viewer in (ANONYMOUS, BERT, ANNA, MODERATOR):
            before = self.library.delivery.signed
            asked = {"id": encode_id("Media", self.media["_id"]), "purpose": self.purpose.value}
            answer = await self.library.run(QUERY, viewer, **asked)
            found = list(_shown(answer, asked["id"]))
            urls = [url for each in found for url in _urls(each)]
            # No signature decides who opens these: they are given for what is open to everybody, and for nothing else.
            is_open = self.is_ready and self.is_public and self.folder is Visibility.PUBLIC
            assert all((each["unsignedUrl"] is not None) is is_open for one in found for each in one["renditions"])
            if not self.is_ready or not (self.is_public or viewer in INSIDERS):
                assert urls == []
                assert self.library.delivery.signed == before
                continue
            assert len(found) == 5
            self._check_urls(urls, may_have_originals=viewer in INSIDERS)

    def _check_urls(self, urls: list[str], *, may_have_originals: bool) -> None:
        originals = [url for url in urls if "/raw/" in url]
        assert len(originals) == (5 if may_have_originals else 0)
        assert {_signer(url) for url in originals} <= {"KDEVORIGINAL"}
        # The public key for what is public and lies among what is; also while it is on its way.
        public = self.is_public and self.folder is Visibility.PUBLIC
        assert {_signer(url) for url in set(urls) - set(originals)} == {"KDEVPUBLIC" if public else "KDEVPRIVATE"}
        minimum = min(rendition.url_lifetime.minimum_s for rendition in POLICIES[self.purpose].renditions)
        for url in urls:
            if expires := _query(url).get("Expires"):
                assert int(expires) - self.now > min(minimum, ORIGINAL_URL_LIFETIME_S)


def _shown(answer: Mapping[str, Any], media_id: str) -> Iterator[Mapping[str, Any]]:
    every = [answer["media"], answer["node"], *answer["nodes"], *answer["feed"]["nodes"]]
    every += [edge["node"] for edge in answer["mediaList"]["edges"]]
    return (each for each in every if each is not None and each["id"] == media_id)


def _urls(media: Mapping[str, Any]) -> Iterator[str]:
    for name in ("display", "sized", "original"):
        if media[name] is not None:
            yield media[name]["url"]
    for rendition in (*media["renditions"], *media["small"]):
        yield rendition["url"]
    for candidate in (media["srcset"] or "").split(", "):
        if candidate:
            yield candidate.split(" ")[0]


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def _signer(url: str) -> str:
    return _query(url)["Key-Pair-Id"]


STEPS = st.lists(st.one_of(st.sampled_from(Event), st.sampled_from(MediaStatus)), min_size=1, max_size=6)
PURPOSES = st.sampled_from([MediaPurpose.COMMUNITY, MediaPurpose.PET_TAG, MediaPurpose.MEDICAL])


# A whole life, for a start: away and back, with the objects behind and in step, into quarantine and out of it, deleted.
LIFE: list[Event | MediaStatus] = [
    *(Event.TURN_PRIVATE, Event.MOVE, Event.TURN_PUBLIC, Event.MOVE),
    *(MediaStatus.QUARANTINED, MediaStatus.UPLOADED, MediaStatus.PROCESSING, MediaStatus.READY, MediaStatus.DELETED),
]


@given(PURPOSES, STEPS)
@example(MediaPurpose.COMMUNITY, LIFE)
@example(MediaPurpose.MEDICAL, LIFE[4:])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_nothing_is_signed_that_is_not_ready_and_for_this_viewer(
    library: Library, purpose: MediaPurpose, steps: list[Event | MediaStatus]
) -> None:
    # One at a time, so that it is what feed and list begin with.
    await library.runtime.database.media.delete_many({})
    visibility = POLICIES[purpose].default_visibility
    state = State(ready_media(purpose=purpose.value, visibility=visibility.value), library, folder=visibility)
    library.delivery._clock = lambda: state.now
    library.delivery._has_cookies = True
    await library.add(state.media)
    await state.check()
    for step in steps:
        await state.take(step)
        await state.check()
