"""URLs in a step, and which of them are sent on.

OpenAI reads URLs itself. Another server may be inside the operator's network, so it only gets URLs of this service's
artifacts. Other URLs are read here, through the SSRF guard, and their contents are sent.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anyio import to_thread

from stepwell.basics.data_uris import data_uri
from stepwell.ports.providers import AttemptIO
from stepwell.providers.openai.images import inspect
from stepwell.providers.shared.input_references import provider_reference
from stepwell.providers.shared.refusals import config_refusal, input_refusal

# Matches URLs as lenient parsers do, which ignore control characters.
_WEB = re.compile(r"[\x00-\x20]*(?:" + r"[\t\r\n]*".join([*"http", "s?", ":"]) + "|ftp:|file:)", re.IGNORECASE)
_UNTYPED = "application/octet-stream"
_TEXTS = frozenset({"type", "text"})  # members of a part that never are references
_MEDIA = frozenset({"image", "images", "video", "videos", "audio", "audios"})


async def chat_reference(reference: str, field: str, io: AttemptIO, *, public: bool) -> str:
    """Return a reference that the server can read. *public*: the server is OpenAI. Raises as `AttemptIO.fetch`."""
    if public or not _is_web(reference):
        return await provider_reference(reference, field, io)
    blob = await io.fetch(reference, field)
    info = await to_thread.run_sync(inspect, blob.data)
    media_type = info.media_type if info is not None else blob.media_type or _UNTYPED
    return await to_thread.run_sync(data_uri, blob.data, media_type)


async def chat_message(message: Mapping[str, Any], field: str, io: AttemptIO, *, public: bool) -> dict[str, Any]:
    """Return *message* with `chat_reference` applied to the references in its content. Raises as `AttemptIO.fetch`."""

    async def readable(value: Any, name: str, place: str) -> Any:
        if isinstance(value, Mapping):
            return {inner: await readable(each, inner, f"{place}.{inner}") for inner, each in value.items()}
        if isinstance(value, list):
            return [await readable(each, name, f"{place}[{number}]") for number, each in enumerate(value)]
        if not isinstance(value, str) or name in _TEXTS:
            return value
        if name == "url" or name.endswith("_url") or (_is_web(value) and not public):
            return await chat_reference(value, place.removesuffix(".url"), io, public=public)
        return value

    content = message.get("content")
    if not isinstance(content, list | Mapping):
        return dict(message)
    return {**message, "content": await readable(content, "text", f"{field}.content")}


def check_addresses(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raise `Refusal` for a URL that a server other than OpenAI would read. *parameters* override *inputs*."""
    for name, value in {**inputs, **parameters}.items():
        if any(_is_web(text) for text in _references(value)):
            why = "a server other than OpenAI's own gets no URLs; use image_urls, which Stepwell reads"
            raise config_refusal("parameters", name, why=why) if name in parameters else input_refusal(name, why=why)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if name in _MEDIA or name.lower().endswith(("url", "urls")):
                yield from _references(each)


def _is_web(text: str) -> bool:
    return _WEB.match(text) is not None
