"""Implements `ports.providers.AttemptIO` for `provider_check`: what a job gives is looked at, and stored nowhere."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from tempfile import TemporaryFile
from typing import IO, Any, NoReturn
from uuid import UUID

import filetype
from anyio import to_thread

from stepwell.basics.artifacts import artifact_path
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import TASK_TYPES
from stepwell.contract.tasks import Output
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.ports.providers import Blob, WorkWeight

_HEAD = 8_192  # bytes by which a file's type is known


class CheckedFiles:
    """The files of a check: their sizes and media types. The check has no inputs that are files."""

    def __init__(self, task_id: UUID, downloads: HttpOutputDownloader) -> None:
        self._task_id, self._downloads = task_id, downloads
        self._kinds: dict[str, tuple[int, str | None]] = {}  # by path

    def fault(self, result: Mapping[str, Any], task_type: TaskType) -> str | None:
        """Return what is wrong with a result; None if it is as expected."""
        output = TASK_TYPES[task_type].output
        if output == "text":
            return None if result.get("result_text") else "the result has no text"
        path = result.get(f"result_{output}_path")
        size, kind = self._kinds.get(path, (0, None)) if isinstance(path, str) else (0, None)
        if not size:
            return f"the result has no {output}"
        return None if kind is not None and kind.startswith(f"{output}/") else f"the file is no {output}, but {kind}"

    def summary(self, result: Mapping[str, Any]) -> str:
        if not self._kinds:
            return f"a text of {len(str(result.get('result_text', '')))} characters"
        return ", ".join(f"{kind} of {size:,} bytes" for size, kind in self._kinds.values())

    async def store(self, name: str, data: bytes) -> Output:
        return self._record(name, len(data), data[:_HEAD], hashlib.sha256(data).hexdigest())

    async def store_file(self, name: str, file: IO[bytes]) -> Output:
        file.seek(0)
        return await self.store(name, await to_thread.run_sync(file.read))

    async def download(self, url: str, name: str, media_types: Sequence[str] = (), **options: Any) -> Output:
        head, size, sha256 = bytearray(), 0, hashlib.sha256()
        async with self._downloads.stream(url, media_types, **options) as chunks:
            async for chunk in chunks:
                head += chunk[: max(_HEAD - len(head), 0)]
                size += len(chunk)
                sha256.update(chunk)
        return self._record(name, size, bytes(head), sha256.hexdigest())

    def _record(self, name: str, size: int, head: bytes, sha256: str) -> Output:
        path, kind = artifact_path(self._task_id, name), filetype.guess_mime(head)
        self._kinds[path] = size, kind
        return Output(path, size, sha256)

    @asynccontextmanager
    async def temporary_file(self) -> AsyncIterator[IO[bytes]]:
        with TemporaryFile() as file:
            yield file

    async def size_of(self, _path: str) -> int | None:
        return None

    async def link(self, _path: str, _field: str) -> str | None:
        return None

    def record_file(self, output: Output, *, has_credentials: bool) -> None:  # noqa: ARG002 - the protocol's
        self._kinds[output.path] = output.size, None

    async def fetch(self, _reference: str, field: str) -> Blob:
        _refuse(field)

    def input_file(self, _reference: str, field: str) -> AbstractAsyncContextManager[str]:
        _refuse(field)

    async def wait_for_disk(self, why: str) -> None:
        _refuse(why)

    def child_process(self, _weight: WorkWeight) -> AbstractAsyncContextManager[None]:
        _refuse("child_process")

    def charge(self, cost: float) -> None:
        """Do nothing: nobody else waits."""


def _refuse(what: str) -> NoReturn:
    raise AttemptError(f"{what}: a check has no such file", retryable=False)
