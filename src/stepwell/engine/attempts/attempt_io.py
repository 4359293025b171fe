"""Implements `ports.providers.AttemptIO` for one task: its file operations, and its use of LOCAL's child processes.

What must hold:
- A file is in `stored` before it is written, so that a cancelled attempt leaves no file that nobody deletes.
- A path leads to a file only if the run may read it (`FileScope`), and a task or an upload has exactly that path.
- Content Credentials are looked for while a file passes through, so that no file is read for them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import IO, Protocol

from anyio import CancelScope, current_effective_deadline, current_time, sleep
from msgspec import Struct

from stepwell.basics.artifacts import artifact_path, parse_artifact_path
from stepwell.basics.content_credentials import CredentialsDetector
from stepwell.basics.errors import ArtifactDiskFull, ArtifactError, AttemptError, CallFailed
from stepwell.basics.tenancy import FileScope
from stepwell.contract.tasks import Output
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.dispatch.local_dispatcher import LocalDispatcher, StepKey
from stepwell.lifecycle.model import Task
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.providers import Blob, ErrorText, FileMemory, InputFetcher, WorkWeight

_DISK_RETRY_S = 2.0  # between two attempts to store a file on a full disk
_SPARE_S = 10.0  # before the attempt's deadline, so that it fails with the cause and not with a timeout


class ArtifactUrls(Protocol):
    """Signed, expiring URLs of artifacts, this service's or a bucket's. `public`: others can reach them."""

    public: bool

    async def size_of(self, path: str, scope: FileScope) -> int | None:
        """Return the size of the file of *scope* with exactly that path; None if there is none."""

    async def url(self, path: str) -> str:
        """Return the signed URL. Raises `ArtifactError` if it can't be signed now."""


class ChildProcessAccess(Protocol):
    """One attempt's use of LOCAL's child processes. See `AttemptIO`."""

    def child_process(self, weight: WorkWeight) -> AbstractAsyncContextManager[None]: ...
    def charge(self, cost: float) -> None: ...


class FileAccess(Struct, frozen=True):
    """The services by which attempts read and write files: the artifact store, inputs, signed URLs, and downloads."""

    artifacts: Artifacts
    inputs: InputFetcher
    links: ArtifactUrls
    downloads: HttpOutputDownloader


class BoundAttemptIO:
    """The file operations of one task. `stored` has its files by path, also those whose write may have failed.

    `has_credentials`: one of the files that the provider has made contains Content Credentials.
    """

    def __init__(
        self, scope: FileScope, task: Task, files: FileAccess, memory: FileMemory, processes: ChildProcessAccess
    ) -> None:
        self._scope, self._task, self._files, self._memory, self._processes = scope, task, files, memory, processes
        self.stored: dict[str, Output] = {}
        self.has_credentials = False

    def child_process(self, weight: WorkWeight) -> AbstractAsyncContextManager[None]:
        return self._processes.child_process(weight)

    def charge(self, cost: float) -> None:
        self._processes.charge(cost)

    async def fetch(self, reference: str, field: str) -> Blob:
        return await self._files.inputs.fetch(reference, field, self._scope, self._memory)

    def input_file(self, reference: str, field: str) -> AbstractAsyncContextManager[str]:
        return self._files.inputs.file(reference, field, self._scope, self._memory)

    async def size_of(self, path: str) -> int | None:
        return await self._files.links.size_of(path, self._scope)

    def record_file(self, output: Output, *, has_credentials: bool) -> None:
        target = parse_artifact_path(output.path)
        if target is None or target.task_id != self._task.id:
            raise AttemptError("the output is not a file of the attempt", retryable=False)
        self.stored[output.path] = output
        self.has_credentials |= has_credentials

    async def link(self, path: str, field: str) -> str | None:
        if await self._files.links.size_of(path, self._scope) is None:
            raise AttemptError(f"{field}: artifact not found", retryable=False, provider_fault=False)
        return await self.address(path) if self._files.links.public else None

    async def address(self, path: str) -> str:
        """Return the signed URL of a file of the tenant, whether others can reach it or not. Raises `AttemptError`."""
        try:
            return await self._files.links.url(path)
        except ArtifactError as error:
            raise AttemptError(str(error), retryable=True, provider_fault=False) from error

    async def store(self, name: str, data: bytes) -> Output:
        detector = CredentialsDetector()
        detector.feed(data)
        output = await self._store(name, partial(self._files.artifacts.put, data=data))
        self.has_credentials |= detector.found
        return output

    async def store_file(self, name: str, file: IO[bytes]) -> Output:
        return await self._store(name, partial(self._files.artifacts.put_file, file=file))

    def temporary_file(self) -> AbstractAsyncContextManager[IO[bytes]]:
        return self._files.artifacts.temporary_file()

    async def _store(self, name: str, put: Callable[[str], Awaitable[Output]]) -> Output:
        """Store the file. While the disk is full, try again until the attempt's deadline: the file is paid for."""
        path = self._record(name)
        while True:
            try:
                with CancelScope(shield=True):
                    self.stored[path] = await put(path)
                return self.stored[path]
            except ArtifactDiskFull as error:
                await self._wait_for_space(str(error))
            except ArtifactError as error:
                raise _storage_error(str(error)) from error

    async def wait_for_disk(self, why: str) -> None:
        self._files.artifacts.report_full(why)
        await self._wait_for_space(why)

    async def _wait_for_space(self, why: str) -> None:
        if current_time() + _DISK_RETRY_S + _SPARE_S > current_effective_deadline():
            raise _storage_error(why)
        await sleep(_DISK_RETRY_S)

    async def download(
        self,
        url: str,
        name: str,
        media_types: Sequence[str] = (),
        *,
        headers: Mapping[str, str] | None = None,
        error_text: ErrorText | None = None,
        redirects: int = 0,
    ) -> Output:
        path = self._record(name)
        try:
            async with self._files.downloads.stream(
                url, media_types, headers=headers, error_text=error_text, redirects=redirects
            ) as chunks:
                detector = CredentialsDetector()
                self.stored[path] = await self._files.artifacts.put_stream(path, _inspected(chunks, detector))
            self.has_credentials |= detector.found
        except ArtifactError as error:
            # The output is made and paid for, and can be downloaded again once the disk isn't full.
            raise CallFailed(f"the output could not be stored: {error}") from error
        return self.stored[path]

    def _record(self, name: str) -> str:
        """Record the file's path before it is written, and return it."""
        path = artifact_path(self._task.id, name)
        self.stored[path] = Output(path, 0, "")
        return path


async def _inspected(chunks: AsyncIterator[bytes], detector: CredentialsDetector) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        detector.feed(chunk)
        yield chunk


def _storage_error(why: str) -> AttemptError:
    return AttemptError(f"the output could not be stored: {why}", retryable=True, provider_fault=False)


class AttemptProcesses:
    """One attempt's use of LOCAL's child processes. A wait doesn't count for its deadline: others cause it."""

    def __init__(self, local: LocalDispatcher, tenant: str | None, step: StepKey, control: AttemptControl) -> None:
        self._local, self._tenant, self._step, self._control = local, tenant, step, control

    @asynccontextmanager
    async def child_process(self, weight: WorkWeight) -> AsyncIterator[None]:
        self._control.pause_deadline()
        try:
            async with self._local.child_process(self._tenant, self._step, weight):
                self._control.resume_deadline()
                yield
        finally:
            self._control.resume_deadline()

    def charge(self, cost: float) -> None:
        self._local.charge(self._tenant, self._step, cost)
