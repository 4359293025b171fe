"""The sizes of LOCAL's results, and how far filters reach: what weighs work before a child process does it.

The process of the service imports this, so it must not load numpy (0.05 s and 11 MB), which only child processes need.
"""

import math
from typing import Any

from stepwell.outbound.sanitise import invalid_input
from stepwell.providers.local.rendering import Inputs, integer, number
from stepwell.providers.shared import images

MAX_CANVAS = 4 * 1024 * 1024  # pixels; larger images are drawn at this size and enlarged
_MAX_SIDE = 8192
_MAX_IMAGES = 8
MAX_OFFSET = 1_000_000  # pixels
_SEEDS = 2**63


def image_count(inputs: Inputs) -> int:
    """Return the number of images. Raises `AttemptError` if it is refused."""
    return integer(inputs, "num_images", 1, _MAX_IMAGES) or 1


def seed_of_image(seed: int, index: int) -> int:
    """Return the seed of an image: that of the step for the first (index 0), and one more for each further image."""
    return (seed + index) % _SEEDS


def image_size(inputs: Inputs) -> tuple[int, int]:
    """Return width and height of the image. Raises `AttemptError` if they are refused."""
    width, height = integer(inputs, "width", 1, _MAX_SIDE) or 1024, integer(inputs, "height", 1, _MAX_SIDE) or 1024
    images.check_size(width, height, "width and height")
    return width, height


def detail_halo(radius: float) -> int:
    """Return how far away the pixels are that `enhance_detail` reads."""
    return images.blur_halo(12 * radius) + images.blur_halo(radius)


def face_radius(size: tuple[int, int]) -> float:
    """Return the radius of FACE_ENHANCER for an image of *size*, if the inputs have none."""
    return max(1.0, max(size) / 150)


def result_size(inputs: Inputs, base: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the largest image on the way from a base image of size *base* to the result."""
    image = base
    if (crop := inputs.get("crop")) is not None and base[0] * base[1]:
        left, top, right, bottom = crop_box(crop, base)
        image = right - left, bottom - top
    if degrees := number(inputs, "rotate", 0, -360, 360) % 360:
        image = rotated_size(image, degrees)
    return max(image, wanted_size(inputs, image) or image, key=lambda size: size[0] * size[1])


def wanted_size(inputs: Inputs, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the size that the inputs ask for, for an image of *size*; None if they ask for none."""
    width, height = integer(inputs, "width", 1, 8192), integer(inputs, "height", 1, 8192)
    if not (width or height):
        return None
    width = width or max(1, round(size[0] * (height or 1) / max(1, size[1])))
    height = height or max(1, round(size[1] * width / max(1, size[0])))
    images.check_size(width, height, "width and height")
    return width, height


def rotated_size(size: tuple[int, int], degrees: float) -> tuple[int, int]:
    """Return the size of the canvas of an image of *size* that is turned."""
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    width, height = size
    return math.ceil(width * cosine + height * sine) + 1, math.ceil(width * sine + height * cosine) + 1


def crop_box(crop: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return *crop* within the image. Raises if nothing is left."""
    numbers = isinstance(crop, list) and all(
        isinstance(edge, int | float) and not isinstance(edge, bool) and abs(edge) < MAX_OFFSET for edge in crop
    )
    if not numbers or len(crop) != 4:  # noqa: PLR2004 - the four edges
        raise invalid_input("crop", "must be [left, top, right, bottom] in pixels")
    left, top, right, bottom = (round(edge) for edge in crop)
    left, top, right, bottom = max(0, left), max(0, top), min(size[0], right), min(size[1], bottom)
    if left >= right or top >= bottom:
        raise invalid_input("crop", f"leaves nothing of an image of {size[0]}x{size[1]}")
    return left, top, right, bottom
