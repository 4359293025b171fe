"""What the functions of this package give back."""

from typing import Any, NamedTuple

from PIL import Image

from stepwell.providers.shared import images


class RenderedFile(NamedTuple):
    """A finished file and the JSON values of the result that tell about it."""

    data: bytes
    result: dict[str, Any]


def picture(image: Image.Image, **more: object) -> RenderedFile:
    """*image* as a PNG file, with its size in the result."""
    return RenderedFile(images.png(image), {"width": image.width, "height": image.height, "format": "PNG"} | more)
