"""Who may do what to a media: one table, denied by default, read both in Python and as a MongoDB filter. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.errors import FailureCode
from service.lifecycle import MediaStatus
from service.models import Visibility

MODERATOR_ROLE = "moderator"
# Of jobs and models.
SERVICE_ROLE = "service"


class Action(enum.StrEnum):
    READ = "READ"
    READ_DETAILS = "READ_DETAILS"
    READ_ORIGINAL = "READ_ORIGINAL"
    FOLLOW = "FOLLOW"
    CHANGE = "CHANGE"
    ANNOTATE = "ANNOTATE"
    DELETE = "DELETE"
    MODERATE = "MODERATE"


class Relation(enum.StrEnum):
    """How a viewer stands to a media. Every viewer, signed in or not, is also ANYONE."""

    OWNER = "OWNER"
    MODERATOR = "MODERATOR"
    SERVICE = "SERVICE"
    ANYONE = "ANYONE"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: the token's subject and roles. `ANONYMOUS` has no id and therefore owns nothing."""

    id: str | None
    roles: frozenset[str] = frozenset()
    # When the token runs out: a connection that outlives its token must not.
    expires_at: datetime | None = field(default=None, compare=False)
    # By what the token was verified, where that can be withdrawn: for whoever verified it.
    credential: object = field(default=None, compare=False, repr=False)

    @property
    def is_moderator(self) -> bool:
        return self.id is not None and MODERATOR_ROLE in self.roles

    @property
    def is_service(self) -> bool:
        return self.id is not None and SERVICE_ROLE in self.roles


ANONYMOUS = Viewer(id=None)


@dataclass(frozen=True, slots=True)
class Grant:
    action: Action
    relation: Relation
    statuses: frozenset[MediaStatus]
    visibilities: frozenset[Visibility] = frozenset(Visibility)
    # Only of what ended in this.
    failure: FailureCode | None = None


_EVERY = frozenset(MediaStatus)
_LIVE = _EVERY - {MediaStatus.DELETED}
_READY = frozenset({MediaStatus.READY})
_QUARANTINED = frozenset({MediaStatus.QUARANTINED})
_PUBLIC = frozenset({Visibility.PUBLIC})

GRANTS: tuple[Grant, ...] = (
    Grant(Action.READ, Relation.ANYONE, _READY, _PUBLIC),
    Grant(Action.READ, Relation.OWNER, _LIVE),
    Grant(Action.READ, Relation.MODERATOR, _LIVE),
    # Where it was taken and the hash of its bytes say more about the owner than the picture does.
    Grant(Action.READ_DETAILS, Relation.OWNER, _LIVE),
    Grant(Action.READ_DETAILS, Relation.MODERATOR, _LIVE),
    Grant(Action.READ_ORIGINAL, Relation.OWNER, _READY),
    Grant(Action.READ_ORIGINAL, Relation.MODERATOR, _READY),
    # What a colleague took out of sight is looked at before it is released; what a scanner or decoder did is not.
    Grant(Action.READ_ORIGINAL, Relation.MODERATOR, _QUARANTINED, failure=FailureCode.MODERATED),
    # Following goes on to the end, so that a client that waits also learns of the deletion.
    Grant(Action.FOLLOW, Relation.ANYONE, _READY, _PUBLIC),
    Grant(Action.FOLLOW, Relation.OWNER, _EVERY),
    Grant(Action.FOLLOW, Relation.MODERATOR, _EVERY),
    # What it says of itself, and trying again. Moderators may delete, so they may also mend.
    Grant(Action.CHANGE, Relation.OWNER, _LIVE),
    Grant(Action.CHANGE, Relation.MODERATOR, _LIVE),
    # Whose words they may be: service/annotations.py.
    Grant(Action.ANNOTATE, Relation.OWNER, _LIVE),
    Grant(Action.ANNOTATE, Relation.MODERATOR, _LIVE),
    Grant(Action.ANNOTATE, Relation.SERVICE, _LIVE),
    Grant(Action.DELETE, Relation.OWNER, _EVERY),
    Grant(Action.DELETE, Relation.MODERATOR, _EVERY),
    # Deciding, and reading what was decided, by whom and why: nobody's but theirs, not even the owner's.
    Grant(Action.MODERATE, Relation.MODERATOR, _LIVE),
)


def _relations(viewer: Viewer) -> frozenset[Relation]:
    relations = {Relation.ANYONE}
    if viewer.id is not None:
        relations.add(Relation.OWNER)
    if viewer.is_moderator:
        relations.add(Relation.MODERATOR)
    if viewer.is_service:
        relations.add(Relation.SERVICE)
    return frozenset(relations)


# Those that hold for everybody's media.
_WIDE = frozenset({Relation.MODERATOR, Relation.SERVICE})


def _covers(grant: Grant, viewer: Viewer, media: Mapping[str, Any]) -> bool:
    if grant.relation is Relation.OWNER and media["owner_id"] != viewer.id:
        return False
    if grant.failure is not None and (media.get("failure") or {}).get("code") != grant.failure:
        return False
    return media["status"] in grant.statuses and media["visibility"] in grant.visibilities


def may(viewer: Viewer, action: Action, media: Mapping[str, Any]) -> bool:
    """Whether the table lets `viewer` do `action`. `media` holds `owner_id`, `status` and `visibility`.

    Without its `failure.code`, nothing is let through that goes by that.
    """
    relations = _relations(viewer)
    return any(
        _covers(grant, viewer, media) for grant in GRANTS if grant.action is action and grant.relation in relations
    )


def _clause(grant: Grant, viewer: Viewer) -> dict[str, Any]:
    clause: dict[str, Any] = {}
    if grant.relation is Relation.OWNER:
        clause["owner_id"] = viewer.id
    if grant.statuses != _EVERY:
        clause["status"] = _one_or_in(sorted(grant.statuses))
    # A wide grant names every visibility, so that an index that has it in the middle can be read in order.
    if grant.visibilities != frozenset(Visibility) or grant.relation in _WIDE:
        clause["visibility"] = _one_or_in(sorted(grant.visibilities))
    if grant.failure is not None:
        clause["failure.code"] = grant.failure.value
    return clause


def _one_or_in(values: list[Any]) -> Any:
    return values[0].value if len(values) == 1 else {"$in": [value.value for value in values]}


def granted_filters(viewer: Viewer, action: Action) -> list[dict[str, Any]]:
    """The same table as MongoDB filters, any of which lets a media through; an empty list lets none.

    A moderator's or service's own rows are contained in the wider ones, so only those are returned.
    """
    relations = _relations(viewer)
    grants = [grant for grant in GRANTS if grant.action is action and grant.relation in relations]
    wide = [grant for grant in grants if grant.relation in _WIDE]
    clauses = [_clause(grant, viewer) for grant in wide or grants]
    return [clause for index, clause in enumerate(clauses) if clause not in clauses[:index]]
