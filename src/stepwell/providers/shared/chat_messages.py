"""Pictures in the messages of a chat: {"role", "content"}, where content is text, or a list of parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.providers.shared.refusals import refused_input

MAX_PICTURES = 64


def check_pictures(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raises `Refusal` where the messages hold more of them than one step may have; before any is fetched."""
    contents = [content for message in messages if isinstance(content := message.get("content"), list)]
    parts = sum(1 for content in contents for part in content if isinstance(part, Mapping) and _is_other(part))
    if parts > MAX_PICTURES:
        raise refused_input("messages", why=f"expected {MAX_PICTURES} pictures at most")


def _is_other(part: Mapping[str, Any]) -> bool:
    """Whether it is anything but text."""
    return part.get("type") != "text" or any(name.endswith("_url") for name in part)
