"""The part of `AttemptIO` that remote providers don't use."""

from contextlib import AbstractAsyncContextManager
from typing import IO

from stepwell.contract.tasks import Output
from stepwell.ports.providers import WorkWeight


class NoFilesOfWorkers:
    """Refuses what only the workers of Celery need: their files, and the sizes of artifacts."""

    async def size_of(self, path: str) -> int | None:
        raise AssertionError(path)

    def record_file(self, output: Output, *, has_credentials: bool) -> None:
        raise AssertionError(f"{output}, {has_credentials}")


class NoChildProcesses(NoFilesOfWorkers):
    """Refuses child processes, because nothing here works in this process."""

    def child_process(self, weight: WorkWeight) -> AbstractAsyncContextManager[None]:
        raise AssertionError(f"a child process for {weight}")

    def input_file(self, reference: str, field: str) -> AbstractAsyncContextManager[str]:
        raise AssertionError(f"a file for {field}: {reference}")

    async def store_file(self, name: str, file: IO[bytes]) -> Output:
        raise AssertionError(f"{name} in {file}")

    def temporary_file(self) -> AbstractAsyncContextManager[IO[bytes]]:
        raise AssertionError("nothing here is made in another process")

    async def wait_for_disk(self, why: str) -> None:
        raise AssertionError(why)

    def charge(self, cost: float) -> None:
        raise AssertionError(f"a cost of {cost}")
