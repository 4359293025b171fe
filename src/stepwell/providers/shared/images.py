"""Reads and writes image files. After `open_image`, an image is RGB or RGBA, upright, with 8 bits per channel."""

import io
import warnings
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stepwell.domain.errors import AttemptError
from stepwell.outbound.sanitise import invalid_input

MAX_PIXELS = 64_000_000  # 192 MB as RGB
# Other formats that Pillow reads are rare, or a risk.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG includes MPO
_FAST = 2  # PNG level: 5% larger than level 9, in a tenth of the time


def open_image(files: Mapping[str, bytes], field: str) -> Image.Image:
    """Return the image in *files* under *field*: its first frame, turned upright as EXIF says.

    Raises `AttemptError`, not retryable, if it is absent, isn't an image, has an unsupported format, is broken or
    truncated, or has more than 64 megapixels (as its header says, before anything is decoded).
    """
    data = files.get(field)
    if data is None:
        raise invalid_input(field, "is required")
    try:
        # Pillow only warns, at a higher limit than ours. `_check_size` refuses before anything is decoded.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as source:
                _check_size(source, field)
                source.load()
                return _plain(ImageOps.exif_transpose(source))
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


def _plain(image: Image.Image) -> Image.Image:
    """Convert *image* to RGB or RGBA without metadata, which Pillow would write into the next file."""
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:  # 16 bits: Pillow would clip them instead of scaling
        levels = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8), "L")
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    plain.info = {}
    return plain


def check_size(width: int, height: int, what: str) -> None:
    """Raise unless LOCAL may make an image of that size. Another provider may accept it."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise AttemptError(f"{what}: {width}x{height} is more than 64 megapixels, or nothing", retryable=False)


def png(image: Image.Image) -> bytes:
    """Encode *image* as PNG. The same pixels give the same bytes: the file contains no time and no metadata."""
    image.info = {}
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=_FAST)
    return target.getvalue()


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours as RGB, and the alpha channel if there is one."""
    return image.convert("RGB"), image.getchannel("A") if image.mode == "RGBA" else None


def with_alpha(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    if alpha is not None:
        colours = colours.copy()
        colours.putalpha(alpha)
    return colours


def cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale *image*, and crop it around its centre, to fill *size*."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _check_size(image: Image.Image, field: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise invalid_input(field, f"{image.width}x{image.height} pixels are more than 64 megapixels")
