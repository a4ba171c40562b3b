from __future__ import annotations

import pytest

from service.lifecycle import ALLOWED_TRANSITIONS, TERMINAL, MediaStatus, sources_of

S = MediaStatus

# The order a media moves in; only an explicit retry or release may go back.
FORWARD = [S.INITIATED, S.UPLOADING, S.UPLOADED, S.PROCESSING, S.READY]
EXPLICIT_STEPS_BACK = {(S.FAILED, S.UPLOADED), (S.QUARANTINED, S.UPLOADED)}


def test_every_status_has_its_row() -> None:
    assert set(ALLOWED_TRANSITIONS) == set(MediaStatus)


def test_status_never_moves_backwards_by_itself() -> None:
    for current, targets in ALLOWED_TRANSITIONS.items():
        for target in targets:
            if current in FORWARD and target in FORWARD:
                assert FORWARD.index(target) > FORWARD.index(current)
            elif target in FORWARD:
                assert (current, target) in EXPLICIT_STEPS_BACK


def test_everything_can_be_deleted_and_nothing_comes_back_from_it() -> None:
    assert sources_of(S.DELETED) == set(MediaStatus) - {S.DELETED}
    assert ALLOWED_TRANSITIONS[S.DELETED] == frozenset()


def test_only_processed_media_become_ready() -> None:
    assert sources_of(S.READY) == {S.PROCESSING}


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_nobody_waits_for_a_terminal_status(status: MediaStatus) -> None:
    assert S.PROCESSING not in ALLOWED_TRANSITIONS[status]
    assert S.UPLOADING not in ALLOWED_TRANSITIONS[status]
