"""The names under which processes of workers claim jobs. Processes of a machine can see that a claimant has died."""

import os
from functools import cache
from pathlib import Path
from uuid import uuid4


def new_claimant() -> str:
    return f"{_pid_namespace()}/{os.getpid()}/{own_start_time()}/{uuid4()}"


def is_dead(claimant: str) -> bool:
    """Return whether the process of that claim has ended. False for a process of another machine or container."""
    namespace, _, process = claimant.partition("/")
    pid, _, rest = process.partition("/")
    return namespace == _pid_namespace() and pid.isdecimal() and str(start_time(int(pid))) != rest.partition("/")[0]


@cache
def _pid_namespace() -> str:
    """Return the name of the set of processes in which a process id is unique: one boot of a machine or container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - it isn't a real path


def own_start_time() -> int:
    """Return when this process was started, in ticks since the boot."""
    return _start_time_of_living(os.getpid())


@cache  # by process: a fork has another id
def _start_time_of_living(pid: int) -> int:
    return start_time(pid) or 0


def start_time(pid: int) -> int | None:
    """Return when a process was started, in ticks since the boot; None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - half the time
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
