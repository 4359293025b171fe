"""Reads the file that an input refers to: from the artifact store, the web, or a data URI."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import IO

import httpx
from anyio import to_thread

from stepwell.basics.artifacts import is_meant_as_artifact, media_type_of, parse_artifact_path
from stepwell.basics.data_uris import decode_data
from stepwell.basics.errors import ArtifactError, ArtifactGone, AttemptError
from stepwell.outbound.http_client import check_media_type
from stepwell.outbound.input_download import Download
from stepwell.outbound.sanitise import invalid_input, sanitised
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.providers import Blob, FileRoom
from stepwell.runtime.temporary_files import path_for_others, temporary_file

_CHUNK = 1 << 20  # bytes: about what the store reads of a file at once

SizeOf = Callable[[str, str | None], Awaitable[int | None]]


class HttpInputFetcher:
    """Implements `ports.providers.InputFetcher`.

    *size_of* returns the size of a tenant's artifact, None if it has none there. *client* is an
    `ssrf_guard.guarded_client`. *max_bytes* bounds every input; *timeout_s* is the deadline of a whole download.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        size_of: SizeOf,
        *,
        client: httpx.AsyncClient,
        max_bytes: int = 64 * 1024 * 1024,
        timeout_s: float = 30.0,
    ) -> None:
        self._artifacts = artifacts
        self._size_of = size_of
        self._download = Download(client, max_bytes, timeout_s)
        self._max_bytes = max_bytes

    async def fetch(self, reference: str, field: str, tenant: str | None, room: FileRoom) -> Blob:
        scheme = reference[:8].lower()
        if is_meant_as_artifact(reference):
            return await self._read_artifact(reference, field, tenant, room)
        if scheme.startswith(("http://", "https://")):
            return await self._download(reference, field, room)
        if scheme.startswith("data:"):
            await room.take_decoded(len(reference))
            return await to_thread.run_sync(self._decode_data_uri, reference, field)
        raise invalid_input(
            field, f"{_printable(reference)} is neither an artifact path, nor an http(s) URL, nor a data URI"
        )

    @asynccontextmanager
    async def file(self, reference: str, field: str, tenant: str | None, room: FileRoom) -> AsyncIterator[str]:
        artifact = is_meant_as_artifact(reference)
        if artifact:
            await self._check_artifact(reference, field, tenant)
            with _artifact_errors(reference, field):
                local_path = await self._artifacts.local_path(reference)
            if local_path is not None:
                yield local_path
                return
        async with temporary_file() as file:
            with room.for_request(), _file_errors(field):
                if artifact:
                    await self._copy_artifact(reference, field, room, file)
                else:
                    blob = await self.fetch(reference, field, tenant, room)
                    await to_thread.run_sync(file.write, blob.data)
                await to_thread.run_sync(file.flush)
            yield path_for_others(file)

    async def _copy_artifact(self, path: str, field: str, room: FileRoom, file: IO[bytes]) -> None:
        await room.take_file(_CHUNK)
        with _artifact_errors(path, field):
            async with self._artifacts.stream(path) as chunks:
                async for chunk in chunks:
                    await to_thread.run_sync(file.write, chunk)

    async def _check_artifact(self, path: str, field: str, tenant: str | None) -> int:
        """Return the size of the tenant's artifact."""
        size = None if parse_artifact_path(path) is None else await self._size_of(path, tenant)
        if size is None:
            raise invalid_input(field, f"artifact {_printable(path)} not found")
        if size > self._max_bytes:
            raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        return size

    async def _read_artifact(self, path: str, field: str, tenant: str | None, room: FileRoom) -> Blob:
        await room.take_file(await self._check_artifact(path, field, tenant))
        with _artifact_errors(path, field):
            async with self._artifacts.stream(path) as chunks:
                data = await self._collect(chunks, field)
        return Blob(data, media_type_of(path))

    async def _collect(self, chunks: AsyncIterator[bytes], field: str) -> bytes:
        data = bytearray()
        async for chunk in chunks:
            data += chunk
            if len(data) > self._max_bytes:
                raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        return bytes(data)

    def _decode_data_uri(self, uri: str, field: str) -> Blob:
        """Return the contents of a data URI, which are base64 or percent-encoded."""
        head, comma, body = uri[len("data:") :].partition(",")
        if not comma:
            raise invalid_input(field, "broken data URI: it has no comma")
        media_type, *parameters = (part.strip().lower() for part in head.split(";"))
        check_media_type(media_type, field)
        if len(body) > 4 * self._max_bytes:  # longer than any encoding of max_bytes
            raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        try:
            data = decode_data(body, is_base64="base64" in parameters)
        except ValueError as error:
            raise invalid_input(field, f"broken data URI: its contents can't be decoded: {error}") from error
        if len(data) > self._max_bytes:
            raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        if not data:
            raise invalid_input(field, "the data URI is empty")
        return Blob(data, media_type)


@contextmanager
def _artifact_errors(path: str, field: str) -> Iterator[None]:
    try:
        yield
    except ArtifactGone as error:
        raise invalid_input(field, f"artifact {_printable(path)} not found") from error
    except ArtifactError as error:
        raise AttemptError(sanitised(f"{field}: {error}"), retryable=True, provider_fault=False) from error


@contextmanager
def _file_errors(field: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{field}: could not be written to a temporary file: {error.strerror}"
        raise AttemptError(message, retryable=True, provider_fault=False) from error


def _printable(reference: str) -> str:
    """Return the beginning of *reference* for a message, without the query, which may contain a secret."""
    return repr(sanitised(reference.partition("?")[0], 120))
