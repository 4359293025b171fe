"""References to input files that a provider can read: a URL if there is one, else a data URI."""

from collections.abc import Mapping
from typing import Any

from anyio import to_thread

from stepwell.basics.artifacts import is_meant_as_artifact
from stepwell.basics.data_uris import data_uri
from stepwell.ports.providers import AttemptIO

_READABLE = ("http://", "https://", "data:")
_UNTYPED = "application/octet-stream"


async def provider_reference(reference: str, field: str, io: AttemptIO) -> str:
    """Return a reference to the same file that a provider can read.

    An http(s) URL or a data URI stays as it is. An artifact path becomes the URL that `io.link` returns, or a data URI
    if it returns none. Raises as `AttemptIO.fetch`; the message names *field*.
    """
    if reference[:8].lower().startswith(_READABLE):
        return reference
    if is_meant_as_artifact(reference):
        address = await io.link(reference, field)
        if address is not None:
            return address
    blob = await io.fetch(reference, field)
    return await to_thread.run_sync(data_uri, blob.data, blob.media_type or _UNTYPED)


async def with_references(inputs: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    """Return *inputs* with `provider_reference` applied to every `*_url`, and to all items of every `*_urls`."""
    resolved = dict(inputs)
    for name, value in inputs.items():
        if name.endswith("_url") and isinstance(value, str):
            resolved[name] = await provider_reference(value, name, io)
        elif name.endswith("_urls") and isinstance(value, list) and all(isinstance(item, str) for item in value):
            resolved[name] = [await provider_reference(each, f"{name}[{n}]", io) for n, each in enumerate(value)]
    return resolved
