"""Images in chat messages. A message is {"role", "content"}; content is text, or a list of parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.providers.shared.refusals import input_refusal

MAX_IMAGES = 64


def check_image_count(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise `Refusal` if the messages contain more images than a step may have. Called before any is fetched."""
    contents = [content for message in messages if isinstance(content := message.get("content"), list)]
    parts = sum(1 for content in contents for part in content if isinstance(part, Mapping) and _is_image(part))
    if parts > MAX_IMAGES:
        raise input_refusal("messages", why=f"expected {MAX_IMAGES} images at most")


def _is_image(part: Mapping[str, Any]) -> bool:
    """Return whether the part is anything other than text."""
    return part.get("type") != "text" or any(name.endswith("_url") for name in part)
