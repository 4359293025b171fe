"""EDITING: crop, rotate, resize, overlay another image, transfer the colours of references."""

import numpy as np
from PIL import Image, ImageChops, ImageStat

from stepwell.providers.local.rendering import Inputs, RenderedFile, number, png_file, text
from stepwell.providers.local.sizes import MAX_OFFSET, crop_box, rotated_size, wanted_size
from stepwell.providers.shared import images

_TRANSFER = 0.4  # the fraction by which colours move towards the references'
_ROTATION = Image.Transpose
_QUARTERS = {90.0: _ROTATION.ROTATE_90, 180.0: _ROTATION.ROTATE_180, 270.0: _ROTATION.ROTATE_270}


def edit(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Crop, rotate, resize, recolour and overlay the base image, in this order.

    - crop: [left, top, right, bottom] in pixels.
    - rotate: degrees counter-clockwise. The canvas grows; its corners are transparent.
    - width, height: of the result. One alone keeps the proportions.
    - reference_image_urls: mean and spread of the colours move 40% towards theirs.
    - overlay_image_url: scaled by scale (1), with its top left corner at x, y (0, 0) of the resized image, and opacity
    0 to 1.
    - mask_image_url: stretched over the result. Recolouring and overlay apply where it is white.
    - prompt: not interpreted, only checked and returned.
    """
    prompt = text(inputs, "prompt")
    original = _reshape(images.open_image(files, "base_image_url"), inputs)
    image = original
    references = [images.open_image(files, field) for field in files if field.startswith("reference_image_urls[")]
    if references:
        image = _recolour(image, references)
    if "overlay_image_url" in files:
        target = image.copy() if "mask_image_url" in files else image
        image = _overlay(target, images.open_image(files, "overlay_image_url"), inputs)
    if "mask_image_url" in files and image is not original:
        mask = _mask(images.open_image(files, "mask_image_url"), image.size)
        image = Image.composite(image, original.convert(image.mode), mask)
    return png_file(image, **({"prompt": prompt} if prompt else {}))


def _reshape(image: Image.Image, inputs: Inputs) -> Image.Image:
    if (crop := inputs.get("crop")) is not None:
        image = image.crop(crop_box(crop, image.size))
    if degrees := number(inputs, "rotate", 0, -360, 360) % 360:
        image = _rotate(image, degrees)
    size = wanted_size(inputs, image.size)
    return image if size is None else images.resize(image, size, Image.Resampling.LANCZOS)


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Rotate *image* counter-clockwise. Steps of 90 degrees move pixels; others interpolate, with clear corners."""
    if degrees in _QUARTERS:
        return image.transpose(_QUARTERS[degrees])
    images.check_size(*rotated_size(image.size, degrees), "rotate")
    return image.convert("RGBA").rotate(degrees, Image.Resampling.BICUBIC, expand=True)


def _recolour(image: Image.Image, references: list[Image.Image]) -> Image.Image:
    """Transfer the colours of *references* by Reinhard's method, with a table of 256 levels per channel."""
    colours, alpha = images.split_alpha(image)
    own = ImageStat.Stat(colours)
    theirs = [ImageStat.Stat(images.split_alpha(reference)[0]) for reference in references]
    table: list[int] = []
    for channel in range(3):
        mean = sum(stat.mean[channel] for stat in theirs) / len(theirs)
        spread = sum(stat.stddev[channel] for stat in theirs) / len(theirs)
        levels = np.arange(256)
        moved = (levels - own.mean[channel]) * (spread / max(own.stddev[channel], 1)) + mean
        mixed = (1 - _TRANSFER) * levels + _TRANSFER * moved
        table += np.clip(np.rint(mixed), 0, 255).astype(int).tolist()
    return images.with_alpha(colours.point(table), alpha)


def _overlay(image: Image.Image, overlay: Image.Image, inputs: Inputs) -> Image.Image:
    """Put *overlay* on *image*, and return *image*."""
    scale = number(inputs, "scale", 1, 0, 16)
    opacity = number(inputs, "opacity", 1, 0, 1)
    size = max(1, round(overlay.width * scale)), max(1, round(overlay.height * scale))
    images.check_size(*size, "scale")
    x = round(number(inputs, "x", 0, -MAX_OFFSET, MAX_OFFSET))
    y = round(number(inputs, "y", 0, -MAX_OFFSET, MAX_OFFSET))
    if size != overlay.size:
        overlay = images.resize(overlay, size, Image.Resampling.LANCZOS)
    levels = [round(opacity * level) for level in range(256)]

    def composite(tile: Image.Image, left: int, top: int) -> Image.Image:
        first, last = max(left, x), min(left + tile.width, x + overlay.width)
        upper, lower = max(top, y), min(top + tile.height, y + overlay.height)
        if first >= last or upper >= lower:
            return tile
        part = overlay.crop((first - x, upper - y, last - x, lower - y)).convert("RGBA")
        part.putalpha(part.getchannel("A").point(levels))
        layer = Image.new("RGBA", tile.size)
        layer.paste(part, (first - left, upper - top))
        return Image.alpha_composite(tile.convert("RGBA"), layer).convert(tile.mode)

    images.by_tiles(image, composite)
    return image


def _mask(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the lightness of *mask*, stretched to *size*. Transparent parts become black."""
    colours, alpha = images.split_alpha(mask)
    light = colours.convert("L")
    if alpha is not None:
        light = ImageChops.multiply(light, alpha)
    return light.resize(size, Image.Resampling.BILINEAR)
