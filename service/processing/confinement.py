"""What a jailed child gives up before it touches a client's bytes: memory, time, files, network, other processes."""

from __future__ import annotations

import resource
import signal
from typing import Final

import pyseccomp

from service.processing.process_control import deny_inspection, end_with_parent
from service.processing.wire import Limits

# Everything a decoder that holds its two open files still needs. Whatever is not listed answers EPERM: open, socket,
# connect, execve, clone, ptrace, kill, ioctl, prctl, and all that later kernels will add.
_ALLOWED: Final = (
    *("read", "readv", "pread64", "write", "writev", "lseek", "close", "fstat"),
    *("munmap", "mremap", "brk", "madvise", "futex", "sched_yield", "restart_syscall"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    *("getpid", "gettid", "getrandom", "getrusage", "sysinfo", "sched_getaffinity"),
    *("clock_gettime", "clock_getres", "gettimeofday", "time"),
    *("exit", "exit_group"),
)
_PROT_EXEC: Final = 4
_AT_EMPTY_PATH: Final = 0x1000


def confine(limits: Limits) -> None:
    """Give up, for good, all that decoding does not need. OSError if the kernel refuses: then decode nothing."""
    end_with_parent(signal.SIGKILL)
    deny_inspection()
    for limit, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        # A second more of CPU as hard limit: SIGXCPU names the cause, SIGKILL follows if it was ignored.
        hard = value + 1 if limit == resource.RLIMIT_CPU else value
        resource.setrlimit(limit, (value, hard))
    _system_call_filter().load()


def _system_call_filter() -> pyseccomp.SyscallFilter:
    calls = pyseccomp.SyscallFilter(pyseccomp.ERRNO(1))
    for name in _ALLOWED:
        calls.add_rule(pyseccomp.ALLOW, name)
    for name in ("mmap", "mprotect"):
        calls.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0))
    # glibc's fstat() is this call with an empty path.
    calls.add_rule(pyseccomp.ALLOW, "newfstatat", pyseccomp.Arg(3, pyseccomp.MASKED_EQ, _AT_EMPTY_PATH, _AT_EMPTY_PATH))
    return calls
