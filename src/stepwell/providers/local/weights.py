"""Weighs LOCAL's work, from its inputs and the headers of its files: pixels to compute, and memory of the process.

What must hold: the memory is at least what the child process uses at most (`tests/providers/local/test_weights.py`).

The bytes per pixel below are measured. Pillow needs 4 for an image in colour, whether it has transparency or not, and 1
for a mask. Files take no memory: they are read and written piece by piece.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from stepwell.basics.errors import AttemptError
from stepwell.ports.providers import LIGHT, WorkWeight
from stepwell.providers.local import sizes, video
from stepwell.providers.local.rendering import Inputs, number
from stepwell.providers.shared import images
from stepwell.providers.shared.images import Header

Size = tuple[int, int]
Headers = Mapping[str, Header]

_MIB = 1024 * 1024
_PROCESS = 72 * _MIB  # a process that has done nothing
_TILE = 32  # bytes per pixel of the tile that a filter works on
_STRIP = 8  # bytes per pixel of the rows that tiles are cut from
_CANVAS = 64  # bytes per pixel of the canvas of GENERATION
_ROW = 16  # bytes per row of an image and of its copy, which matter if it is narrow
_BANDS = 12 * _MIB  # for the bands of a resized image
_WEBP = 16  # bytes per pixel of an image that is encoded as WebP
_IMAGE, _MASK = 4, 1  # bytes per pixel
_NOTHING = Header((0, 0), 0, transparent=False)  # of a file that is absent or can't be read


class Need(NamedTuple):
    """Pixels to compute, and bytes beside those of the process."""

    pixels: int
    memory: int


Weigh: TypeAlias = Callable[[Inputs, Headers], Need]


def weigh_work(weigh: Weigh, inputs: Inputs, files: images.Files) -> WorkWeight:
    """Weigh the work of a task type, by its function *weigh*. *files* are the files of the inputs; only their headers
    are read.

    Inputs that will be refused, and files without a readable header, weigh nothing.
    """
    headers = {field: images.read_header(file) or _NOTHING for field, file in files.items()}
    try:
        need = weigh(inputs, headers)
    except AttemptError:
        return LIGHT
    memory = _PROCESS + max([need.memory, *(header.decoding for header in headers.values())])
    return WorkWeight((need.pixels + sum(_pixels(header.size) for header in headers.values())) / 1e6, memory)


def weigh_preview(header: Header, width: int) -> WorkWeight:
    """Weigh the making of a preview, of at most *width* pixels on each side, of the image with that header."""
    result = images.shrunk_size(header.size, width)
    factors = images.shrink_factors(header.size, result)
    reduced = math.ceil(header.size[0] / factors[0]), math.ceil(header.size[1] / factors[1])
    shrinking = _bytes_of_resize(header._replace(size=reduced), result)
    if reduced != header.size:
        shrinking += _bytes_of_resize(header, reduced)
    memory = _PROCESS + max(header.decoding, shrinking) + _WEBP * _pixels(result)
    return WorkWeight(_pixels(header.size) / 1e6, memory)


def of_refine(inputs: Inputs, headers: Headers) -> Need:
    source = headers.get("base_image_url", _NOTHING)
    factor = number(inputs, "upscale_factor", 2, 1, 8)
    result = round(source.size[0] * factor), round(source.size[1] * factor)
    resize = _bytes_of_resize(source, result) if factor > 1 else 0
    filtered = _bytes_of_tiles(result, images.blur_halo(max(1.0, 0.75 * factor)))
    return Need(_pixels(result), max(resize, filtered, _bytes_of_tiles(source.size, 1)))


def of_face(inputs: Inputs, headers: Headers) -> Need:
    base = headers.get("base_image_url", _NOTHING).size
    radius = number(inputs, "radius", sizes.face_radius(base), 0, 100)
    return Need(_pixels(base), _bytes_of_tiles(base, images.blur_halo(radius)) + _MASK * _pixels(base))


def of_detail(inputs: Inputs, headers: Headers) -> Need:
    base = headers.get("base_image_url", _NOTHING).size
    return Need(_pixels(base), _bytes_of_tiles(base, sizes.detail_halo(number(inputs, "radius", 2, 0, 100))))


def of_adjusting(_inputs: Inputs, headers: Headers) -> Need:
    base = headers.get("base_image_url", _NOTHING).size
    return Need(_pixels(base), _bytes_of_tiles(base, 1))


def of_background(_inputs: Inputs, headers: Headers) -> Need:
    base, backdrop = (headers.get(field, _NOTHING) for field in ("base_image_url", "background_image_url"))
    behind = max(backdrop.decoding, _bytes_of_resize(backdrop, base.size)) if _pixels(backdrop.size) else 0
    pixels = _pixels(base.size)
    return Need(2 * pixels, _bytes_of_tiles(base.size, 1) + _IMAGE * pixels + behind)


def of_generation(inputs: Inputs, headers: Headers) -> Need:
    result = sizes.image_size(inputs)
    canvas = _CANVAS * min(_pixels(result), sizes.MAX_CANVAS)
    reference = headers.get("reference_image_url", _NOTHING)
    memory = max(canvas, _bytes_of_tiles(result, 0))
    if _pixels(reference.size):
        memory = max(_bytes_of_resize(reference, result), memory + _IMAGE * _pixels(result))
    count = sizes.image_count(inputs)  # they are drawn one after the other, each with the reference read anew
    return Need(count * _pixels(result) + (count - 1) * _pixels(reference.size), memory)


def of_video(inputs: Inputs, headers: Headers) -> Need:
    base = headers.get("base_image_url", _NOTHING)
    pixels = _pixels(base.size)
    size = video.video_size(inputs, base.size if pixels else (1, 1))
    frames, source = video.frame_count(inputs), video.source_size(size)
    over_white = 3 * _IMAGE * pixels if base.transparent else 0
    frame = _IMAGE * (pixels + _pixels(source)) + 4 * _IMAGE * _pixels(size)
    return Need(frames * _pixels(size), max(over_white, _bytes_of_resize(base, source), frame))


def of_editing(inputs: Inputs, headers: Headers) -> Need:
    source = headers.get("base_image_url", _NOTHING)
    result = sizes.result_size(inputs, source.size)
    pixels = max(_pixels(source.size), _pixels(result))
    scale = number(inputs, "scale", 1, 0, 16)
    width, height = headers.get("overlay_image_url", _NOTHING).size
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    degrees = number(inputs, "rotate", 0, -360, 360)
    reshape_bytes = _IMAGE * _pixels(source.size)
    if inputs.get("width") or inputs.get("height"):
        reshape_bytes = _bytes_of_resize(source, result)
    if degrees % 90:  # interpolates
        reshape_bytes = max(reshape_bytes, 3 * _IMAGE * pixels)
    elif degrees or inputs.get("crop"):
        reshape_bytes = max(reshape_bytes, _IMAGE * (_pixels(source.size) + _pixels(result)))
    return Need(pixels + _pixels(scaled), max(reshape_bytes, *_editing_stages(headers, _IMAGE * pixels, scaled)))


def _editing_stages(headers: Headers, image: int, scaled: Size) -> tuple[int, int, int]:
    """Return the bytes of the stages with references, overlay and mask. *image* is the bytes of the base image."""
    references = [header for field, header in headers.items() if field.startswith("reference_image_urls[")]
    overlay, mask = (headers.get(field, _NOTHING) for field in ("overlay_image_url", "mask_image_url"))
    recolour_bytes = overlay_bytes = mask_bytes = 0
    if references:
        sizes = [_IMAGE * _pixels(reference.size) for reference in references]
        last = max(reference.decoding for reference in references)
        recolour_bytes = image + max(sum(sizes) - max(sizes) + last, sum(sizes) + max(3 * image, *sizes))
    if _pixels(overlay.size):
        resize_bytes = _bytes_of_resize(overlay, scaled) if scaled != overlay.size else 0
        bases = 2 if _pixels(mask.size) else 1
        overlay_bytes = bases * image + max(overlay.decoding, resize_bytes) + _TILE * _MIB
    if _pixels(mask.size):
        per_pixel = 2 * _IMAGE + 3 * _MASK if mask.transparent else _IMAGE + _MASK
        mask_bytes = 2 * image + max(mask.decoding, per_pixel * _pixels(mask.size) + image // _IMAGE, image)
    return recolour_bytes, overlay_bytes, mask_bytes


def _bytes_of_tiles(size: Size, halo: int) -> int:
    """Return the bytes that `by_tiles` needs for an image of that size, with those of the image."""
    if not _pixels(size):
        return 0
    columns, rows = images.tile_size(size, halo)
    columns, rows = min(size[0], columns + 2 * halo), min(size[1], rows + 2 * halo)
    return _IMAGE * _pixels(size) + _ROW * size[1] + _STRIP * size[0] * rows + _TILE * columns * rows


def _bytes_of_resize(source: Header, result: Size) -> int:
    """Return the bytes that `resize` needs, with those of both images.

    It copies a transparent image, because it multiplies the colours by the alpha channel.
    """
    copies = 2 if source.transparent else 1
    rows = source.size[1] + result[1]
    return _IMAGE * (copies * _pixels(source.size) + _pixels(result)) + _ROW * rows + _BANDS


def _pixels(size: Size) -> int:
    return size[0] * size[1]
