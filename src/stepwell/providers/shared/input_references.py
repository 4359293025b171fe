"""Files that a provider is to read: an address where there is one, else the bytes themselves as a data URI."""

import base64
from collections.abc import Mapping
from typing import Any

from anyio import to_thread

from stepwell.domain.artifacts import is_meant_as_artifact
from stepwell.ports.providers import AttemptIO, Blob

_PASSED = ("http://", "https://", "data:")
_UNTYPED = "application/octet-stream"


async def provider_reference(reference: str, field: str, io: AttemptIO) -> str:
    """What a provider can read *reference* by: itself if it is an http(s) URL or a data URI, for an artifact path the
    address that `io.link` gives, or else a data URI. Raises as `AttemptIO.fetch`, its message naming *field*.
    """
    if reference[:8].lower().startswith(_PASSED):
        return reference
    if is_meant_as_artifact(reference):
        address = await io.link(reference, field)
        if address is not None:
            return address
    return await to_thread.run_sync(_data_uri, await io.fetch(reference, field))


async def provider_references(references: list[str], field: str, io: AttemptIO) -> list[str]:
    """The same for each of a list; they are named `field[0]`, `field[1]`..."""
    return [await provider_reference(reference, f"{field}[{place}]", io) for place, reference in enumerate(references)]


async def with_references(inputs: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    """*inputs* with every `*_url` and every list of strings in a `*_urls` made readable for a provider."""
    resolved = dict(inputs)
    for name, value in inputs.items():
        if name.endswith("_url") and isinstance(value, str):
            resolved[name] = await provider_reference(value, name, io)
        elif name.endswith("_urls") and isinstance(value, list) and all(isinstance(item, str) for item in value):
            resolved[name] = await provider_references(value, name, io)
    return resolved


def _data_uri(blob: Blob) -> str:
    return f"data:{blob.media_type or _UNTYPED};base64,{base64.b64encode(blob.data).decode('ascii')}"
