"""Temporary files without a name, which other processes of this machine can open.

The kernel removes such a file when the last process closes it. So a crash leaves none behind.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO

from anyio import CancelScope, to_thread

_SMALL = 4 * 1024 * 1024  # bytes; to free a larger file would take milliseconds of the event loop


@asynccontextmanager
async def temporary_file() -> AsyncIterator[IO[bytes]]:
    """Yield an empty file. Raises OSError if there is no room for it."""
    file = TemporaryFile()  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        if os.fstat(file.fileno()).st_size <= _SMALL:
            file.close()
        else:
            with CancelScope(shield=True):
                await to_thread.run_sync(file.close)


def path_for_others(file: IO[bytes]) -> str:
    """Return the path by which processes of the same user can open *file*, as long as it is open here.

    Keep *file* open until those processes have ended, because afterwards the path may lead to another file.
    """
    return f"/proc/{os.getpid()}/fd/{file.fileno()}"
