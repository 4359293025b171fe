"""BACKGROUND_REMOVE and BACKGROUND_FIX, for images with a fairly even background, such as product photos."""

import numpy as np
from PIL import Image, ImageFilter

from stepwell.providers.local.rendering import Inputs, RenderedFile, colour, number, png_file
from stepwell.providers.shared import images

_TOLERANCE = 32  # levels
_FEATHER = 1.0  # pixels
_FLOOD_PIXELS = 4 * 1024 * 1024


def remove(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Return the base image as RGBA with a transparent background.

    A pixel is background if it has the border's median colour (each channel within tolerance, 0 to 255, default 32),
    and is connected to the border by such pixels. So a white shirt in front of a white wall is removed, but a white
    button on a red shirt stays. feather (0 to 100 pixels, 1) softens the edge inwards. Existing transparency stays.
    """
    image, alpha = _cut_out(inputs, files)
    return png_file(images.with_alpha(image, alpha))


def fix(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Replace the background by background_image_url (scaled to cover), else by background_color (white).

    The prompt is not interpreted. The background is found as in `remove`.
    """
    paint = colour(inputs, "background_color", "white")
    image, alpha = _cut_out(inputs, files)
    if "background_image_url" in files:
        backdrop = images.cover(images.open_image(files, "background_image_url"), image.size)
    else:
        backdrop = None

    def composite(tile: Image.Image, left: int, top: int) -> Image.Image:
        if backdrop is None:
            return Image.alpha_composite(Image.new("RGBA", tile.size, paint), tile)
        behind = backdrop.crop((left, top, left + tile.width, top + tile.height))
        return Image.alpha_composite(behind.convert("RGBA"), tile)

    result = images.with_alpha(image, alpha)
    del image, alpha
    images.by_tiles(result, composite)
    return png_file(result.convert("RGB") if result.getchannel("A").getextrema() == (255, 255) else result)


def _cut_out(inputs: Inputs, files: images.Files) -> tuple[Image.Image, Image.Image]:
    """Return the colours of the base image, and an alpha channel (L) that is transparent for the background."""
    tolerance = number(inputs, "tolerance", _TOLERANCE, 0, 255)
    feather = number(inputs, "feather", _FEATHER, 0, 100)
    image, alpha = images.split_alpha(images.open_image(files, "base_image_url"))
    if alpha is not None and alpha.getextrema() != (255, 255):
        return image, alpha
    mask = Image.fromarray(np.where(_background(image, tolerance), np.uint8(0), np.uint8(255)), "L")
    if feather:  # only the inner half of the blur, so that no rim of background remains
        mask = mask.filter(ImageFilter.GaussianBlur(feather)).point([max(0, 2 * level - 255) for level in range(256)])
    return image, mask


def _background(image: Image.Image, tolerance: float) -> np.ndarray:
    """Return which pixels (height x width, bool) are background. Connections are found on at most 4 megapixels."""
    alike = _alike(image, _border_colour(image), tolerance)
    shrink = (image.width * image.height / _FLOOD_PIXELS) ** 0.5
    if shrink <= 1:
        return _flood(alike)
    size = max(1, round(image.width / shrink)), max(1, round(image.height / shrink))
    coarse = np.asarray(Image.fromarray(alike).resize(size, Image.Resampling.NEAREST))
    reached = Image.fromarray(_flood(coarse).astype(np.uint8) * 255, "L").filter(ImageFilter.MaxFilter(3))
    return alike & (np.asarray(reached.resize(image.size, Image.Resampling.NEAREST)) > 0)


def _border_colour(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    middle: np.ndarray = np.median(border, axis=0)
    return middle


def _alike(image: Image.Image, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    """Return which pixels differ from *wanted* by at most *tolerance* in every channel."""
    result = np.ones((image.height, image.width), dtype=bool)
    for index, level in enumerate(wanted):
        table = [255 * (abs(other - level) <= tolerance) for other in range(256)]
        result &= np.asarray(image.getchannel(index).point(table)) > 0
    return result


def _flood(alike: np.ndarray) -> np.ndarray:
    """Return the pixels of *alike* that are connected to the border through *alike*, by their sides.

    Each round fills whole runs along the rows, then along the columns, until nothing changes. It takes as many rounds
    as the longest path has bends; for a photograph, that is a handful.
    """
    reached = np.zeros_like(alike)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        reached[edge] = alike[edge]
    rows, columns = _runs(alike), _runs(alike.T)
    last_count = -1
    while (count := int(reached.sum())) > last_count:
        last_count = count
        reached = _spread(reached, alike, rows)
        reached = _spread(reached.T, alike.T, columns).T
    return reached


def _runs(alike: np.ndarray) -> np.ndarray:
    """Number the pixels so that a run of true pixels in a row has one number, and different runs differ."""
    breaks = ~alike
    breaks[:, 0] = True  # a run ends with its row
    return np.cumsum(breaks.ravel(), dtype=np.int32).reshape(alike.shape)


def _spread(reached: np.ndarray, alike: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return all pixels of the runs that *reached* touches."""
    hit = np.zeros(int(runs[-1, -1]) + 1, dtype=bool)
    hit[runs[reached]] = True
    spread: np.ndarray = alike & hit[runs]
    return spread
