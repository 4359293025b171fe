"""An `AttemptIO` for tests of one provider: real downloads, and a store in memory."""

import hashlib
from collections.abc import Mapping, Sequence
from uuid import UUID

import httpx

from stepwell.basics.errors import AttemptError
from stepwell.contract.tasks import Output
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.ports.providers import Blob, ErrorText
from support.providers.no_child_processes import NoChildProcesses

TASK = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")


class MemoryIO(NoChildProcesses):
    """`inputs` are the artifacts by path; with *public* they have addresses too. `stored` are the files by name,
    `kinds` what was said of the types of those that were downloaded.
    """

    def __init__(
        self, client: httpx.AsyncClient | None = None, *, inputs: dict[str, Blob] | None = None, public: bool = False
    ) -> None:
        self._client, self._public, self.inputs = client, public, inputs or {}
        self.stored: dict[str, bytes] = {}
        self.kinds: list[tuple[str, ...]] = []

    async def fetch(self, reference: str, field: str) -> Blob:
        if reference not in self.inputs:
            raise AttemptError(f"{field}: artifact not found", retryable=False, provider_fault=False)
        return self.inputs[reference]

    async def link(self, path: str, field: str) -> str | None:
        await self.fetch(path, field)
        return f"https://stepwell.example/{path}?signature=1" if self._public else None

    async def store(self, name: str, data: bytes) -> Output:
        self.stored[name] = data
        return Output(f"media/{TASK}/{name}", len(data), hashlib.sha256(data).hexdigest())

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
        assert self._client is not None
        self.kinds.append(tuple(media_types))
        downloads = HttpOutputDownloader(self._client, max_bytes=4_000_000, timeout_s=20)
        async with downloads.stream(
            url, media_types, headers=headers, error_text=error_text, redirects=redirects
        ) as chunks:
            return await self.store(name, b"".join([chunk async for chunk in chunks]))


class UnsteadyIO(MemoryIO):
    """Its store fails so often, and then holds."""

    def __init__(self, failures: int, *, inputs: dict[str, Blob] | None = None) -> None:
        super().__init__(inputs=inputs)
        self.failures = failures

    async def store(self, name: str, data: bytes) -> Output:
        if self.failures:
            self.failures -= 1
            raise AttemptError("the store is away", retryable=True, provider_fault=False)
        return await super().store(name, data)
