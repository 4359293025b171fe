"""Addresses on the web that a step names, on their way to OpenAI or to another server.

OpenAI reads them itself. Another server may stand in a network of the operator's: no address goes to it but that of our
own artifacts, and what is behind one is read here, through the guard.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anyio import to_thread

from stepwell.ports.providers import AttemptIO
from stepwell.providers.openai.images import data_uri, seen
from stepwell.providers.shared.input_references import provider_reference
from stepwell.providers.shared.refusals import config_refusal, input_refusal

# As those read them who forgive what isn't seen.
_WEB = re.compile(r"[\x00-\x20]*(?:" + r"[\t\r\n]*".join([*"http", "s?", ":"]) + "|ftp:|file:)", re.IGNORECASE)
_UNTYPED = "application/octet-stream"
_WORDS = frozenset({"type", "text"})  # members of a part that are no reference, whatever they hold
_MEDIA = frozenset({"image", "images", "video", "videos", "audio", "audios"})


async def chat_reference(reference: str, field: str, io: AttemptIO, *, public: bool) -> str:
    """What the server can read *reference* by. Raises as `AttemptIO.fetch`."""
    if public or not _is_web(reference):
        return await provider_reference(reference, field, io)
    blob = await io.fetch(reference, field)
    about = await to_thread.run_sync(seen, blob.data)
    media_type = about.media_type if about is not None else blob.media_type or _UNTYPED
    return await to_thread.run_sync(data_uri, blob.data, media_type)


async def chat_message(message: Mapping[str, Any], field: str, io: AttemptIO, *, public: bool) -> dict[str, Any]:
    """*message* with what the parts of its content refer to made readable. Raises as `AttemptIO.fetch`."""

    async def readable(value: Any, name: str, place: str) -> Any:
        if isinstance(value, Mapping):
            return {inner: await readable(each, inner, f"{place}.{inner}") for inner, each in value.items()}
        if isinstance(value, list):
            return [await readable(each, name, f"{place}[{number}]") for number, each in enumerate(value)]
        if not isinstance(value, str) or name in _WORDS:
            return value
        if name == "url" or name.endswith("_url") or (_is_web(value) and not public):
            return await chat_reference(value, place.removesuffix(".url"), io, public=public)
        return value

    content = message.get("content")
    if not isinstance(content, list | Mapping):
        return dict(message)
    return {**message, "content": await readable(content, "text", f"{field}.content")}


def check_addresses(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raises `Refusal` where one of them names an address that another server would read; *parameters* win."""
    for name, value in {**inputs, **parameters}.items():
        if any(_is_web(text) for text in _references(value)):
            why = "no address goes to a server other than OpenAI's own; image_urls are read for it"
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
