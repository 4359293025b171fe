"""Reads and writes image files. After `open_image`, an image is RGB or RGBA, upright, with 8 bits per channel."""

import io
import math
import warnings
from collections.abc import Callable, Mapping
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from stepwell.domain.errors import AttemptError
from stepwell.outbound.sanitise import invalid_input

Files = Mapping[str, IO[bytes]]  # the files of a step's inputs, by field
MAX_PIXELS = 64_000_000  # 192 MB as RGB
# Other formats that Pillow reads are rare, or a risk.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG includes MPO
_WEBP_HEADER = 10  # bytes of the first chunk that hold the size
_WEBP_HEADER_END = 30
STRIP_PIXELS = 4 * 1024 * 1024
_FAST = 2  # PNG level: 5% larger than level 9, in a tenth of the time


def open_image(files: Files, field: str) -> Image.Image:
    """Return the image in *files* under *field*: its first frame, turned upright as EXIF says.

    Raises `AttemptError`, not retryable, if it is absent, isn't an image, has an unsupported format, is broken or
    truncated, or has more than 64 megapixels (as its header says, before anything is decoded).
    """
    file = files.get(field)
    if file is None:
        raise invalid_input(field, "is required")
    file.seek(0)
    try:
        # Pillow only warns, at a higher limit than ours. `_check_size` refuses before anything is decoded.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as source:
                _check_size(source, field)
                source.load()
                return _plain(_upright(source))
    except AttemptError:
        raise
    except MemoryError as error:
        raise AttemptError(f"{field}: not enough memory to decode it", retryable=True) from error
    except UnidentifiedImageError as error:
        message = f"{field}: not an image that LOCAL can read (PNG, JPEG, WebP, GIF, BMP, TIFF)"
        raise AttemptError(message, retryable=False) from error
    except Image.DecompressionBombError as error:
        message = f"{field}: more than 64 megapixels"
        raise AttemptError(message, retryable=False, provider_fault=False) from error
    except Exception as error:  # decoders don't document what they raise for broken bytes
        message = f"{field}: the image is broken or truncated"
        raise AttemptError(message, retryable=False, provider_fault=False) from error


def read_size(file: IO[bytes]) -> tuple[int, int] | None:
    """Return width and height as the header says, and decode nothing. None if there is no header that can be read."""
    if is_webp(file):
        return _webp_size(_head(file, _WEBP_HEADER_END))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as source:
                return source.size
    except Exception:  # noqa: BLE001 - decoders don't document what they raise for broken bytes
        return None


def is_webp(file: IO[bytes]) -> bool:
    """Return whether the file is a WebP, which its decoder reads into memory as a whole."""
    head = _head(file, 12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def _head(file: IO[bytes], size: int) -> bytes:
    """Return the first *size* bytes of the file, and go back to its beginning."""
    file.seek(0)
    head = file.read(size)
    file.seek(0)
    return head


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return the size of a WebP file. Pillow would allocate two frames of that size to find it.

    The format: developers.google.com/speed/webp/docs/riff_container
    """
    kind, body = data[12:16], data[20:_WEBP_HEADER_END]
    if len(body) < _WEBP_HEADER:
        return None
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
    return width & 0x3FFF, height & 0x3FFF


def _upright(image: Image.Image) -> Image.Image:
    """Turn *image* as EXIF says. Without an orientation, nothing is copied."""
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def _plain(image: Image.Image) -> Image.Image:
    """Convert *image* to RGB or RGBA without metadata, which Pillow would write into the next file."""
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:  # 16 bits: Pillow would clip them instead of scaling
        levels = np.asarray(image) >> 8
        image = Image.fromarray(np.clip(levels, 0, 255, out=levels).astype(np.uint8), "L")
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    plain.info = {}
    return plain


def check_size(width: int, height: int, what: str) -> None:
    """Raise unless LOCAL may make an image of that size. Another provider may accept it."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise AttemptError(f"{what}: {width}x{height} is more than 64 megapixels, or nothing", retryable=False)


def write_png(image: Image.Image, target: IO[bytes]) -> None:
    """Write *image* as PNG. The same pixels give the same bytes: the file contains no time and no metadata."""
    image.info = {}
    image.save(target, "PNG", compress_level=_FAST)


def png(image: Image.Image) -> bytes:
    """Return the file that `write_png` writes."""
    target = io.BytesIO()
    write_png(image, target)
    return target.getvalue()


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours as RGB, and the alpha channel if there is one. The colours of an RGB image are not copied."""
    if image.mode == "RGB":
        return image, None
    return image.convert("RGB"), image.getchannel("A") if image.mode == "RGBA" else None


def with_alpha(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    if alpha is not None:
        colours = colours.copy()
        colours.putalpha(alpha)
    return colours


def strip_rows(size: tuple[int, int], halo: int) -> int:
    """Return how many rows `by_strips` processes at once: about 4 megapixels, and enough to be worth their halo."""
    width, height = size
    return min(height, max(STRIP_PIXELS // width, 2 * halo, 1))


def by_strips(
    image: Image.Image,
    function: Callable[[Image.Image, int], Image.Image],
    halo: int = 0,
    target: Image.Image | None = None,
) -> None:
    """Write what *function* makes of *image* into *target*, else into *image*, by strips: that needs little memory.

    *function* gets a strip and the row of *image* where it begins. It returns an image of the strip's size, and of the
    target's mode. Each of its pixels may depend on *halo* rows above and below it. Then the result is the same as that
    of the whole image.
    """
    target = target or image
    width, height = image.size
    rows = strip_rows(image.size, halo)
    if rows == height:
        target.paste(function(image, 0))
        return
    above = image.crop((0, 0, width, 0))  # the original rows above the strip
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        below = image.crop((0, top, width, min(height, bottom + halo)))
        strip = Image.new(image.mode, (width, above.height + below.height))
        strip.paste(above, (0, 0))
        strip.paste(below, (0, above.height))
        start, above = above.height, image.crop((0, max(0, bottom - halo), width, bottom))
        target.paste(function(strip, top - start).crop((0, start, width, start + bottom - top)), (0, top))


def blur_halo(radius: float) -> int:
    """Return the rows that Pillow's GaussianBlur of *radius* reads above and below: three passes of a box blur."""
    return 3 * (math.ceil(radius) + 1) if radius else 0


def cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale *image*, and crop it around its centre, to fill *size*."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _check_size(image: Image.Image, field: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise invalid_input(field, f"{image.width}x{image.height} pixels are more than 64 megapixels")
