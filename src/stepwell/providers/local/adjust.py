"""IMAGE_ADJUSTER: exposure, brightness, contrast, colour and sharpness."""

import numpy as np
from PIL import Image, ImageEnhance

from stepwell.providers.local.rendering import Inputs, RenderedFile, number, png_file
from stepwell.providers.shared import images

_KNEE = 0.0031308  # the sRGB curve is linear below, and a power above
_WARMEST = 0.3  # the gain of red, and the loss of blue, at temperature 100


def adjust(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Adjust the base image. With neutral values, no pixel changes. Transparency stays.

    Ranges and defaults: exposure in EV (-10 to 10, 0); brightness, contrast, saturation and sharpness as factors (0 to
    10, 1); temperature from cold to warm (-100 to 100, 0); gamma (0.001 to 10, 1; above 1 lightens the midtones).
    """
    tables = [_table(inputs, channel) for channel in range(3)]
    saturation = number(inputs, "saturation", 1, 0, 10)
    sharpness = number(inputs, "sharpness", 1, 0, 10)

    def adjust_tile(tile: Image.Image, *_: int) -> Image.Image:
        colours, alpha = images.split_alpha(tile)
        colours = colours.point([level for table in tables for level in table])
        if saturation != 1:
            colours = ImageEnhance.Color(colours).enhance(saturation)
        if sharpness != 1:
            colours = ImageEnhance.Sharpness(colours).enhance(sharpness)
        return images.with_alpha(colours, alpha)

    image = images.open_image(files, "base_image_url")
    images.by_tiles(image, adjust_tile, halo=1)
    return png_file(image)


def _table(inputs: Inputs, channel: int) -> list[int]:
    """Return the 256 output levels of a channel (0 red, 1 green, 2 blue), for the adjustments by channel."""
    exposure = number(inputs, "exposure", 0, -10, 10)
    brightness = number(inputs, "brightness", 1, 0, 10)
    contrast = number(inputs, "contrast", 1, 0, 10)
    warmth = number(inputs, "temperature", 0, -100, 100) / 100
    gamma = number(inputs, "gamma", 1, 0.001, 10)

    level = np.arange(256) / 255
    gain = 2.0**exposure * (1 + _WARMEST * warmth * (1, 0, -1)[channel])
    if gain != 1:  # exposure scales linear light
        level = _to_srgb(np.clip(_to_linear(level) * gain, 0, 1))
    level = np.clip(level * brightness, 0, 1)
    level = np.clip((level - 0.5) * contrast + 0.5, 0, 1)
    return [round(255 * value) for value in level ** (1 / gamma)]


def _to_linear(level: np.ndarray) -> np.ndarray:
    return np.where(level <= 12.92 * _KNEE, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def _to_srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= _KNEE, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
