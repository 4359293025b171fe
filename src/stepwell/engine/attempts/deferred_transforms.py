"""Finishes the transforms that need I/O: signed URLs and data URIs of artifacts."""

from typing import Any

from anyio import to_thread

from stepwell.basics.artifacts import media_type_of
from stepwell.basics.data_uris import data_uri
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TransformType
from stepwell.definition.mapping.input_mapping import DeferredTransform
from stepwell.engine.attempts.attempt_io import BoundAttemptIO
from stepwell.ports.providers import Blob

_UNTYPED = "application/octet-stream"


class TransformFinisher:
    """Finishes the deferred transforms of one attempt.

    *max_text* bounds the texts together, in bytes; None if the attempt's memory alone bounds them.
    """

    def __init__(self, io: BoundAttemptIO, max_text: int | None) -> None:
        self._io, self._max_text = io, max_text
        self._text = 0
        self._sizes: dict[str, int | None] = {}

    async def finish(self, transform: DeferredTransform) -> Any:
        """Return the value: the text of one path, or those of each path in a list. Raises `AttemptError`."""
        if isinstance(transform.value, list):
            return [await self._finish_one(transform, path) for path in transform.value]
        return await self._finish_one(transform, transform.value)

    async def _finish_one(self, transform: DeferredTransform, path: Any) -> str:
        size = await self._size_of(path) if isinstance(path, str) else None
        if size is None:
            message = f"{transform.label}: {transform.transform} needs the path of an artifact, and there is none such"
            raise AttemptError(message, retryable=False, provider_fault=False)
        if transform.transform is TransformType.PATH_TO_URL:
            url = await self._io.address(path)
            self._count(transform, len(url))
            return url
        self._count(transform, (size + 2) // 3 * 4)
        blob = await self._io.fetch(path, transform.to_field)
        return await to_thread.run_sync(_data_uri, path, blob)

    async def _size_of(self, path: str) -> int | None:
        """Return the size of the tenant's file, None if there is none such. Each path is looked up once."""
        if path not in self._sizes:
            self._sizes[path] = await self._io.size_of(path)
        return self._sizes[path]

    def _count(self, transform: DeferredTransform, size: int) -> None:
        """Count a text of *size*, before it is made if it is a data URI. Raises `AttemptError` beyond the bound."""
        self._text += size
        if self._max_text is not None and self._text > self._max_text:
            kind = "URLs" if transform.transform is TransformType.PATH_TO_URL else "data URIs"
            message = f"{transform.label}: the {kind} are over {self._max_text:,} bytes, and the result may not be"
            raise AttemptError(message, retryable=False, provider_fault=False)


def _data_uri(path: str, blob: Blob) -> str:
    return data_uri(blob.data, media_type_of(path) or _UNTYPED)
