"""Pictures in and out of bytes. Everywhere else in this package a picture is RGB or RGBA, upright, 8 bits a channel."""

import io
import warnings
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stepwell.domain.errors import AttemptError
from stepwell.outbound.sanitise import invalid_input

MAX_PIXELS = 64_000_000  # 192 MB as RGB
# The rest of what Pillow can read is either rare or a risk.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG opens MPO too
_FAST = 2  # PNG level: twice the size of level 9 would be wrong, but it is 5%, at a tenth of the time


def opened(files: Mapping[str, bytes], field: str) -> Image.Image:
    """The picture that *field* holds: its first frame, turned upright as EXIF says.

    Raises `AttemptError`, not retryable: absent, no picture, a format we can't read, more than 64 megapixels (read
    from the header, before anything is decoded), broken or truncated.
    """
    data = files.get(field)
    if data is None:
        raise invalid_input(field, "is required")
    try:
        # Pillow's own limit is higher than ours and only a warning; between the two nothing is decoded.
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
        message = f"{field}: not a picture that LOCAL can read (PNG, JPEG, WebP, GIF, BMP, TIFF)"
        raise AttemptError(message, retryable=False) from error
    except Image.DecompressionBombError as error:
        message = f"{field}: more than 64 megapixels"
        raise AttemptError(message, retryable=False, provider_fault=False) from error
    except Exception as error:  # whatever a decoder may raise about broken bytes: it documents nothing
        message = f"{field}: the picture is broken or truncated"
        raise AttemptError(message, retryable=False, provider_fault=False) from error


def _plain(image: Image.Image) -> Image.Image:
    """*image* as RGB or RGBA, without metadata (which Pillow would write into the next file)."""
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:  # 16 bits: Pillow would clip them instead of scaling
        levels = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8), "L")
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    plain.info = {}
    return plain


def check_size(width: int, height: int, what: str) -> None:
    """Raise unless a picture of that size may be made. LOCAL's limit: another provider may do it."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise AttemptError(f"{what}: {width}x{height} is more than 64 megapixels, or nothing", retryable=False)


def png(image: Image.Image) -> bytes:
    """*image* as a PNG file. The same pixels give the same bytes: no time, no metadata."""
    image.info = {}
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=_FAST)
    return target.getvalue()


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours as RGB, and the alpha channel if there is one."""
    return image.convert("RGB"), image.getchannel("A") if image.mode == "RGBA" else None


def with_alpha(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    if alpha is not None:
        colours = colours.copy()
        colours.putalpha(alpha)
    return colours


def covered(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """*image* scaled and cropped around its centre to fill *size*."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _check_size(picture: Image.Image, field: str) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise invalid_input(field, f"{picture.width}x{picture.height} pixels are more than 64 megapixels")
