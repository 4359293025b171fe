"""The output file of a rendering function."""

from collections.abc import Callable
from functools import partial
from typing import IO, Any, NamedTuple

from PIL import Image

from stepwell.providers.shared import images


class RenderedFile(NamedTuple):
    """The output. `write` writes the file piece by piece. `result` has the members of the step's result about it."""

    write: Callable[[IO[bytes]], None]
    result: dict[str, Any]


def png_file(image: Image.Image, **more: object) -> RenderedFile:
    """Return *image* as PNG, with its size in the result."""
    facts = {"width": image.width, "height": image.height, "format": "PNG"}
    return RenderedFile(partial(images.write_png, image), facts | more)
