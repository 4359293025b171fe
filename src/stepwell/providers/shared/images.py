"""Reads and writes image files. After `open_image`, an image is RGB or RGBA, upright, with 8 bits per channel."""

import io
import math
import os
import warnings
from collections.abc import Callable, Mapping
from typing import IO, NamedTuple

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from stepwell.basics.errors import AttemptError
from stepwell.outbound.sanitise import invalid_input

Files = Mapping[str, IO[bytes]]  # the files of a step's inputs, by field
MAX_PIXELS = 64_000_000  # 192 MB as RGB
# Other formats that Pillow reads are rare, or a risk.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG includes MPO
_WEBP_HEADER = 10  # bytes of the first chunk that hold the size
_WEBP_HEADER_END = 30
_TILE_PIXELS = 1024 * 1024
_RESAMPLING_REACH = 3  # pixels that Lanczos reads to each side
_DECODING, _DECODING_AT_MOST, _DECODING_WEBP = 5, 13, 20  # bytes per pixel while a file is decoded
_ROTATION = 4  # bytes per pixel of the copy that is rotated
_MAX_EXIF = 65_536
_FAST = 2  # PNG level: 5% larger than level 9, in a tenth of the time


def open_image(files: Files, field: str) -> Image.Image:
    """Return the image in *files* under *field*: its first frame, rotated upright as EXIF says.

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
        raise invalid_input(field, "more than 64 megapixels") from error
    except Exception as error:  # decoders don't document what they raise for broken bytes
        raise invalid_input(field, "the image is broken or truncated") from error


class Header(NamedTuple):
    """The size of an image file in pixels, and the bytes of memory that `open_image` needs while it decodes it.

    `transparent`: it may become an RGBA image.
    """

    size: tuple[int, int]
    decoding: int
    transparent: bool


def read_header(file: IO[bytes]) -> Header | None:
    """Read the header of an image file. Nothing is decoded. Return None if there is no readable header."""
    file.seek(0)
    head = file.read(_WEBP_HEADER_END)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        if (size := _webp_size(head)) is None:
            return None
        # The decoder reads the file as a whole, and holds two frames besides.
        return Header(size, _DECODING_WEBP * size[0] * size[1] + file.seek(0, os.SEEK_END), transparent=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as source:
                transparent = source.has_transparency_data
                per_pixel = _DECODING_AT_MOST if _is_complex(source) else _DECODING
                if _may_be_rotated(source, file):
                    per_pixel += _ROTATION
                return Header(source.size, per_pixel * source.width * source.height, transparent)
    except Exception:  # noqa: BLE001 - decoders don't document what they raise for broken bytes
        return None


def _is_complex(source: Image.Image) -> bool:
    """Return whether decoding needs a second image: for a conversion to RGB or RGBA, or inside the decoder."""
    if source.mode not in {"1", "L", "P", "RGBA"} and (source.mode != "RGB" or "transparency" in source.info):
        return True
    return source.format not in {"PNG", "BMP", "GIF", "JPEG"} or "progressive" in source.info


def _may_be_rotated(source: Image.Image, file: IO[bytes]) -> bool:
    """Return whether EXIF may rotate the image. Reads the end of a PNG, where EXIF may stand."""
    if source.format != "PNG":
        return source.format == "JPEG" and source.getexif().get(ExifTags.Base.Orientation, 1) != 1
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _MAX_EXIF))
    return "exif" in source.info or b"eXIf" in file.read()


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
        image = image.convert("I").point(lambda level: level / 256).convert("L")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    plain = image if image.mode == mode else image.convert(mode)  # which would copy it
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


def tile_size(size: tuple[int, int], halo: int) -> tuple[int, int]:
    """Return columns and rows of the tiles of `by_tiles`: about a megapixel, or more if the halo is large."""
    width, height = size
    rows = min(height, max(_TILE_PIXELS // width, 3 * halo, 1))
    return min(width, max(_TILE_PIXELS // rows, 2 * halo, 1)), rows


def by_tiles(
    image: Image.Image,
    function: Callable[[Image.Image, int, int], Image.Image],
    halo: int = 0,
    target: Image.Image | None = None,
) -> None:
    """Apply *function* to *image*, tile by tile, to save memory. The results go into *target*, by default *image*.

    *function* gets a tile, and the column and the row of *image* where it begins. It returns an image of the tile's
    size, and of the target's mode. Its pixels may depend on pixels up to *halo* away along each axis. So the result is
    the same as if *function* got the whole image.
    """
    target = target or image
    width, height = image.size
    columns, rows = tile_size(image.size, halo)
    above = image.crop((0, 0, width, 0))  # the original rows above the tiles
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        below = image.crop((0, top, width, min(height, bottom + halo)))
        strip = Image.new(image.mode, (width, above.height + below.height))
        strip.paste(above, (0, 0))
        strip.paste(below, (0, above.height))
        start, above = above.height, image.crop((0, max(0, bottom - halo), width, bottom))
        del below
        for left in range(0, width, columns):
            right, first = min(width, left + columns), max(0, left - halo)
            tile = strip.crop((first, 0, min(width, right + halo), strip.height))
            result = function(tile, first, top - start)
            target.paste(result.crop((left - first, start, right - first, start + bottom - top)), (left, top))


def resize(
    image: Image.Image,
    size: tuple[int, int],
    resampling: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Resize *image*, or a *box* of it, band by band.

    In one piece, Pillow would need an image of the new width and the old height.
    """
    left, upper, right, lower = box or (0, 0, *image.size)
    width, height = size
    source = image.convert("RGBa") if image.mode == "RGBA" else image  # else Pillow would do that for each band
    result = Image.new(image.mode, size)
    scale = (lower - upper) / height
    reach = math.ceil(_RESAMPLING_REACH * max(1, scale)) + 1
    rows = max(1, min(height, round(_TILE_PIXELS / (width * max(1, scale)))))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        start, end = upper + top * scale, min(lower, upper + bottom * scale)
        first, last = max(0, math.floor(start) - reach), min(image.height, math.ceil(end) + reach)
        # Always the width first. Pillow would choose the order by the band's height, and the order changes pixels.
        wide = source.resize((width, last - first), resampling, (left, first, right, last))
        band = wide.resize((width, bottom - top), resampling, (0, start - first, width, end - first))
        result.paste(band.convert(image.mode), (0, top))
    return result


def blur_halo(radius: float) -> int:
    """Return how far Pillow's GaussianBlur of *radius* reads, in pixels: it is three passes of a box blur."""
    return 3 * (math.ceil(radius) + 1) if radius else 0


def cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale *image*, and crop it around its centre, to fill *size*."""
    scale = min(image.width / size[0], image.height / size[1])
    left, upper = (image.width - scale * size[0]) / 2, (image.height - scale * size[1]) / 2
    box = max(0.0, left), max(0.0, upper), min(image.width, image.width - left), min(image.height, image.height - upper)
    return resize(image, size, Image.Resampling.LANCZOS, box)


def shrink(image: Image.Image, width: int) -> Image.Image:
    """Return *image* so that it fits into a square of *width* pixels. A smaller one is returned as it is."""
    result = shrunk_size(image.size, width)
    if result == image.size:
        return image
    factors = shrink_factors(image.size, result)
    # In one step, Pillow would need 48 bytes for each pixel of the longer side, which may have millions.
    reduced = image if factors == (1, 1) else image.reduce(factors)
    return resize(reduced, result, Image.Resampling.LANCZOS)


def shrunk_size(size: tuple[int, int], width: int) -> tuple[int, int]:
    """Return the size to which `shrink` brings an image of *size*."""
    scale = min(1.0, width / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrink_factors(size: tuple[int, int], result: tuple[int, int]) -> tuple[int, int]:
    """Return the factors of the first step of `shrink`. After it, the sides are 2 to 4 times those of *result*."""
    return max(1, size[0] // (2 * result[0])), max(1, size[1] // (2 * result[1]))


def _check_size(image: Image.Image, field: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise invalid_input(field, f"{image.width}x{image.height} pixels are more than 64 megapixels")
