"""The main program of a child process: reads requests from its input, and writes a response for each.

A request is the size of its header (4 bytes, big-endian), the header (`module:function cpu_s`), the size of the data (8
bytes), and the data. A response is one byte, an `Outcome`, the size of its data (8 bytes), and the data. It imports the
standard library only, besides what the function's module imports.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from importlib import import_module
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1


class Outcome(IntEnum):
    """The kind of a response. The data of `ERROR` is the name of the error's type, because its text may be a secret."""

    RESULT = 0
    ERROR = 1
    OUT_OF_MEMORY = 2


def main() -> None:
    """Serve requests until the input is closed.

    The arguments are the parent's process id, the bytes of memory that this process may use, and its nice value.
    """
    parent, memory_bytes, niceness = map(int, sys.argv[1:])
    bind_to_parent(parent, niceness)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _serve(sys.stdin.buffer, sys.stdout.buffer)


def bind_to_parent(parent: int, niceness: int) -> None:
    """Ignore Ctrl-C, die with the process *parent*, and have a lower priority than its event loop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # An idle process ends when its input is closed. A busy one wouldn't notice before it has finished.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.nice(niceness)


def _serve(requests: BinaryIO, responses: BinaryIO) -> None:
    while header := requests.read(4):
        name, cpu_s = requests.read(int.from_bytes(header, "big")).decode().split()
        data = requests.read(int.from_bytes(requests.read(8), "big"))
        _allow_cpu(int(cpu_s))
        outcome, response = _respond(name, data)
        responses.write(bytes([outcome]) + len(response).to_bytes(8, "big"))
        responses.write(response)
        responses.flush()


def _respond(name: str, data: bytes) -> tuple[Outcome, bytes]:
    try:
        return Outcome.RESULT, _function(name)(data)
    except MemoryError:
        return Outcome.OUT_OF_MEMORY, b""
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return Outcome.ERROR, type(error).__name__.encode()


def _function(name: str) -> Callable[[bytes], bytes]:
    module, _, function = name.partition(":")
    handler: Callable[[bytes], bytes] = getattr(import_module(module), function)
    return handler


def _allow_cpu(seconds: int) -> None:
    """Let the kernel end this process (SIGXCPU) if it uses more than *seconds* of processor time from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
