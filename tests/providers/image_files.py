"""Images for tests, an `AttemptIO` without a store, and reads of the process table."""

import io
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any
from uuid import UUID

import numpy as np
from PIL import Image

from stepwell.contract.tasks import Output
from stepwell.ports.providers import Blob, WorkWeight
from stepwell.runtime.temporary_files import temporary_file
from support.providers.no_child_processes import NoFilesOfWorkers

TASK = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def empty_png(width: int, height: int) -> bytes:
    """A PNG of one colour, which is tiny for its size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * ((width + 7) // 8 + 1) * height, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def picture_of(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def gradient(width: int = 96, height: int = 64) -> Image.Image:
    """A picture in which every pixel differs from its neighbours."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([across, down, 255 - across]).astype(np.uint8), "RGB")


def product(width: int = 120, height: int = 90) -> Image.Image:
    """A red box with a white hole in front of white."""
    image = Image.new("RGB", (width, height), (240, 240, 240))
    image.paste((200, 30, 30), (30, 20, 90, 70))
    image.paste((240, 240, 240), (50, 35, 70, 55))
    return image


class NoRoom(Exception):
    """`wait_for_disk` was called."""


class FakeIO(NoFilesOfWorkers):
    """An `AttemptIO` over dictionaries."""

    def __init__(self, inputs: dict[str, bytes] | None = None) -> None:
        self.inputs, self.stored = inputs or {}, dict[str, bytes]()
        self.weights, self.costs = list[WorkWeight](), list[float]()

    @asynccontextmanager
    async def child_process(self, weight: WorkWeight) -> AsyncIterator[None]:
        self.weights.append(weight)
        yield

    def charge(self, cost: float) -> None:
        self.costs.append(cost)

    async def fetch(self, reference: str, field: str) -> Blob:  # noqa: ARG002 - the port's name
        return Blob(self.inputs[reference], "image/png")

    async def link(self, path: str, field: str) -> str | None:  # noqa: ARG002 - the port's
        raise AssertionError("nothing here leaves the process")

    async def download(self, url: str, name: str, media_types: Sequence[str] = (), **_: Any) -> Output:  # noqa: ARG002
        raise AssertionError("nothing here is made elsewhere")

    @asynccontextmanager
    async def input_file(self, reference: str, field: str) -> AsyncIterator[str]:  # noqa: ARG002 - the port's name
        with NamedTemporaryFile() as file:
            file.write(self.inputs[reference])
            file.flush()
            yield file.name

    async def store(self, name: str, data: bytes) -> Output:
        self.stored[name] = data
        return Output(f"media/{TASK}/{name}", len(data), "0" * 64)

    async def store_file(self, name: str, file: IO[bytes]) -> Output:
        return await self.store(name, file.read())

    def temporary_file(self) -> AbstractAsyncContextManager[IO[bytes]]:
        return temporary_file()

    async def wait_for_disk(self, why: str) -> None:
        raise NoRoom(why)


def children(parent: int) -> set[int]:
    """The processes that *parent* has started and that still run."""
    found: set[int] = set()
    for listing in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found |= {int(pid) for pid in listing.read_text().split() if alive(int(pid))}
    return found


def alive(pid: int) -> bool:
    """Whether *pid* runs; a zombie doesn't."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
