"""What a process tells the kernel of itself (prctl(2)). Stands alone, so that every process of ours may load it."""

from __future__ import annotations

import ctypes
import os
from signal import Signals
from typing import Final

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4

_libc: Final = ctypes.CDLL(None, use_errno=True)


def end_with_parent(by: Signals) -> None:
    """Have this process sent a signal as soon as its parent ends. OSError if the kernel refuses."""
    _prctl(_PR_SET_PDEATHSIG, by)


def deny_inspection() -> None:
    """No core file, and no other process of this user may trace this one, or read its memory or environment.

    Until the next execve. OSError if the kernel refuses.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
