"""IMAGE_ADJUSTER, REFINE, DETAIL_ENHANCER and FACE_ENHANCER, by filters that don't recognise what an image shows."""

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from stepwell.providers.local.rendering import Inputs, RenderedFile, number, png_file
from stepwell.providers.local.sizes import detail_halo, face_radius
from stepwell.providers.shared import images

_KNEE = 0.0031308  # the sRGB curve is linear below, and a power above
_WARMEST = 0.3  # the gain of red, and the loss of blue, at temperature 100
_MEDIAN = ImageFilter.MedianFilter(3)
_SKIN_CB, _SKIN_CR = (77, 127), (133, 173)  # the usual range of skin tones in YCbCr; light and dark skin differ in Y
# The weight of the smoothing, by how much it would change a pixel: full up to 8 levels, none from 40 on.
_FLATNESS = [round(255 * min(1.0, max(0.0, (40 - change) / 32))) for change in range(256)]


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


def refine(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Enlarge the base image by Lanczos and sharpen it. No detail is invented.

    upscale_factor 1 to 8 (2), sharpness 0 to 10 (0.5; 0 = none), denoise 0 to 1 (0): the weight of a median filter that
    is applied before. Raises for a result of more than 64 megapixels.
    """
    factor = number(inputs, "upscale_factor", 2, 1, 8)
    sharpness = number(inputs, "sharpness", 0.5, 0, 10)
    denoise = number(inputs, "denoise", 0, 0, 1)
    image = images.open_image(files, "base_image_url")
    size = round(image.width * factor), round(image.height * factor)
    images.check_size(*size, "upscale_factor")
    if denoise:
        images.by_tiles(image, lambda tile, *_: Image.blend(tile, tile.filter(_MEDIAN), denoise), halo=1)
    if size != image.size:
        image = images.resize(image, size, Image.Resampling.LANCZOS)
    if sharpness:
        radius = max(1.0, 0.75 * factor)
        images.by_tiles(image, lambda tile, *_: _unsharp(tile, radius, sharpness), images.blur_halo(radius))
    return png_file(image, upscale_factor=factor)


def enhance_detail(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Raise fine detail and local contrast. strength 0 to 1 (0.5; 0 = unchanged), radius 0 to 100 pixels (2)."""
    strength = number(inputs, "strength", 0.5, 0, 1)
    radius = number(inputs, "radius", 2, 0, 100)
    image = images.open_image(files, "base_image_url")

    def enhance_tile(tile: Image.Image, *_: int) -> Image.Image:
        wide = _unsharp(tile, radius=12 * radius, strength=0.4 * strength)  # and weak: local contrast
        return _unsharp(wide, radius=radius, strength=1.2 * strength)

    if strength:
        images.by_tiles(image, enhance_tile, detail_halo(radius))
    return png_file(image)


def enhance_face(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Smooth the skin and sharpen the rest. Faces are not detected; only the tone of skin counts, wherever it occurs.

    Edges stay, because the smoothing is weaker the more it would change. An image without skin tones is smoothed softly
    as a whole. strength 0 to 1 (0.5; 0 = unchanged), radius in pixels (default 1/150 of the longer side).
    """
    strength = number(inputs, "strength", 0.5, 0, 1)
    image = images.open_image(files, "base_image_url")
    radius = number(inputs, "radius", face_radius(image.size), 0, 100)
    if not strength:
        return png_file(image)
    halo = images.blur_halo(radius)
    skin = Image.new("L", image.size)
    images.by_tiles(image, lambda tile, *_: _skin(images.split_alpha(tile)[0], radius), halo, target=skin)
    if skin.getextrema() == (0, 0):
        skin = Image.new("L", image.size, 96)

    def enhance_tile(tile: Image.Image, left: int, top: int) -> Image.Image:
        colours, alpha = images.split_alpha(tile)
        skin_here = skin.crop((left, top, left + tile.width, top + tile.height))
        smooth = colours.filter(ImageFilter.GaussianBlur(radius))
        flat = ImageChops.difference(colours, smooth).convert("L").point(_FLATNESS)
        where = ImageChops.multiply(skin_here, flat).point([round(strength * level) for level in range(256)])
        sharp = _unsharp(colours, radius=max(1.0, radius / 4), strength=0.6 * strength)
        sharp.paste(colours, mask=skin_here)
        return images.with_alpha(Image.composite(smooth, sharp, where), alpha)

    images.by_tiles(image, enhance_tile, halo)
    return png_file(image)


def _skin(colours: Image.Image, radius: float) -> Image.Image:
    """Return a soft mask (L) of the pixels with the tone of skin."""
    _, blue, red = colours.convert("YCbCr").split()
    inside = [band.point(_box(box)) for band, box in ((blue, _SKIN_CB), (red, _SKIN_CR))]
    return ImageChops.multiply(*inside).filter(ImageFilter.GaussianBlur(radius))


def _box(box: tuple[int, int]) -> list[int]:
    return [255 if box[0] <= level <= box[1] else 0 for level in range(256)]


def _unsharp(image: Image.Image, radius: float, strength: float) -> Image.Image:
    """Sharpen *image* by an unsharp mask of *radius* pixels and *strength*. Transparency stays."""
    colours, alpha = images.split_alpha(image)
    sharp = colours.filter(ImageFilter.UnsharpMask(radius, round(100 * strength), threshold=1))
    return images.with_alpha(sharp, alpha)
