"""The output file of a rendering function."""

from typing import Any, NamedTuple

from PIL import Image

from stepwell.providers.shared import images


class RenderedFile(NamedTuple):
    """A finished file, and the members of the step's result about it."""

    data: bytes
    result: dict[str, Any]


def png_file(image: Image.Image, **more: object) -> RenderedFile:
    """Encode *image* as PNG, with its size in the result."""
    return RenderedFile(images.png(image), {"width": image.width, "height": image.height, "format": "PNG"} | more)
