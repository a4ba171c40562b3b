"""Runs somebody else's program so that it reaches neither the network nor another process, and writes no file.

    python -m service.processing.confined_program MEMORY_BYTES CPU_SECONDS PROGRAM [ARGUMENT...]

Unlike what decodes in the jail, a program has to open its own libraries and data: reading is left to it. Loads next to
nothing, as it is started for each picture.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence

import pyseccomp

# The network, io_uring (which would reach it unseen), other processes, new processes, privileges, changes to files.
_DENIED = (
    *("socket", "socketpair", "connect", "accept", "accept4", "bind", "listen", "sendto", "sendmsg", "sendmmsg"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal", "setpriority", "sched_setaffinity", "prlimit64"),
    *("fork", "vfork", "clone", "clone3"),
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "bpf", "perf_event_open", "userfaultfd"),
    *("add_key", "request_key", "keyctl", "setuid", "setgid", "setresuid", "setresgid", "capset"),
    *("creat", "openat2", "open_by_handle_at", "truncate", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "memfd_create"),
    *("chmod", "fchmod", "fchmodat", "chown", "lchown", "fchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr"),
    *("shmget", "shmat", "msgget", "semget", "mq_open"),
)
_CHANGING = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC)


def main(arguments: Sequence[str]) -> None:
    """Give up what is listed, then become the program. OSError if the kernel refuses: then nothing runs."""
    memory_bytes, cpu_s, *command = arguments
    for limit, value in (
        (resource.RLIMIT_AS, int(memory_bytes)),
        (resource.RLIMIT_CPU, int(cpu_s)),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Also sees to it that no program with more rights than ours can be started (no_new_privs).
    _system_call_filter().load()
    os.execve(command[0], command, environment)  # noqa: S606 - what is run is found by us, and there is no shell


def _system_call_filter() -> pyseccomp.SyscallFilter:
    calls = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refusal = pyseccomp.ERRNO(1)
    for name in _DENIED:
        calls.add_rule(refusal, name)
    # abort() signals itself; this process keeps its id when it becomes the program.
    calls.add_rule(refusal, "tgkill", pyseccomp.Arg(0, pyseccomp.NE, os.getpid()))
    for name, position in (("open", 1), ("openat", 2)):
        for flag in _CHANGING:
            calls.add_rule(refusal, name, pyseccomp.Arg(position, pyseccomp.MASKED_EQ, flag, flag))
    return calls


if __name__ == "__main__":
    main(sys.argv[1:])
