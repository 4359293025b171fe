"""Weighs LOCAL's work, from its inputs and the headers of its files: pixels to compute, and memory of the worker.

What must hold: the memory is at least what the worker process uses at most (`tests/providers/local/test_weights.py`).

The bytes per pixel below are measured. Pillow needs 4 for an image in colour, whether it has transparency or not, and 1
for a mask.
"""

import os
from collections.abc import Mapping
from typing import IO, NamedTuple

from stepwell.contract.enums import TaskType
from stepwell.domain.errors import AttemptError
from stepwell.ports.providers import LIGHT, WorkWeight
from stepwell.providers.local import editing, enhance, generation, video
from stepwell.providers.local.values import Inputs, number
from stepwell.providers.shared import images

Size = tuple[int, int]

_MIB = 1024 * 1024
_PROCESS = 72 * _MIB  # a worker that has done nothing
_DECODED = 13  # bytes per pixel while a file is decoded: by the codec, as decoded, and as RGB or RGBA
_DECODED_WEBP = 20  # the same of a WebP: its decoder holds two frames besides
_STRIP = 36  # bytes per pixel of the strip that a filter works on
_CANVAS = 64  # bytes per pixel of the canvas of GENERATION
_IMAGE = 4
_ENCODED = 9  # bytes per pixel of an image and of its PNG, which may be larger than the pixels


class _Need(NamedTuple):
    """Pixels to compute, and bytes beside those of the process and of the files."""

    pixels: int
    memory: int


def weigh_job(task_type: TaskType, inputs: Inputs, files: images.Files) -> WorkWeight:
    """Weigh the work. *files* are the files of the inputs; only their headers are read.

    Inputs that will be refused, and files without a readable header, weigh nothing.
    """
    sizes = {field: images.read_size(file) or (0, 0) for field, file in files.items()}
    try:
        need = _need(task_type, inputs, sizes)
    except AttemptError:
        return LIGHT
    decoding = max((_decoding(files[field], size) for field, size in sizes.items()), default=0)
    memory = _PROCESS + max(need.memory, decoding)
    return WorkWeight((need.pixels + sum(map(_pixels, sizes.values()))) / 1e6, memory)


def _need(task_type: TaskType, inputs: Inputs, sizes: Mapping[str, Size]) -> _Need:
    base = sizes.get("base_image_url", (0, 0))
    pixels = _pixels(base)
    match task_type:
        case TaskType.GENERATION:
            return _of_generation(inputs, sizes)
        case TaskType.VIDEO_GENERATION:
            return _of_video(inputs, base)
        case TaskType.EDITING:
            return _of_editing(inputs, sizes)
        case TaskType.REFINE:
            factor = number(inputs, "upscale_factor", 2, 1, 8)
            result = round(base[0] * factor), round(base[1] * factor)
            # The resize by Lanczos goes across first, into an image of the new width and the old height.
            resize = _IMAGE * (pixels + result[0] * base[1] + 2 * _pixels(result)) if factor > 1 else 0
            filtered = _filtered(result, images.blur_halo(max(1.0, 0.75 * factor)))
            return _Need(_pixels(result), max(resize, filtered, _filtered(base, 1)))
        case TaskType.FACE_ENHANCER:
            radius = number(inputs, "radius", enhance.face_radius(base), 0, 100)
            return _Need(pixels, _filtered(base, images.blur_halo(radius)) + pixels)
        case TaskType.DETAIL_ENHANCER:
            return _Need(pixels, _filtered(base, enhance.detail_halo(number(inputs, "radius", 2, 0, 100))))
        case TaskType.IMAGE_ADJUSTER:
            return _Need(pixels, _filtered(base, 1))
        case TaskType.BACKGROUND_REMOVE | TaskType.BACKGROUND_FIX:
            backdrop = sizes.get("background_image_url", (0, 0))
            behind = _DECODED * _pixels(backdrop) + _IMAGE * pixels if _pixels(backdrop) else 0
            return _Need(2 * pixels, _filtered(base, 1) + _IMAGE * pixels + behind)
        case _:
            return _Need(pixels, _DECODED * pixels)


def _of_generation(inputs: Inputs, sizes: Mapping[str, Size]) -> _Need:
    result = generation.image_size(inputs)
    canvas = min(_pixels(result), generation.MAX_CANVAS)
    reference = _pixels(sizes.get("reference_image_url", (0, 0)))
    blend = _DECODED * reference + 3 * _IMAGE * _pixels(result) if reference else 0
    return _Need(
        _pixels(result),
        max(_CANVAS * canvas + _IMAGE * _pixels(result), blend, (_IMAGE + _ENCODED) * _pixels(result)),
    )


def _of_video(inputs: Inputs, base: Size) -> _Need:
    if not _pixels(base):
        base = 1, 1
    size, frames = video.video_size(inputs, base), video.frame_count(inputs)
    source = video.source_size(size)
    # The frames are kept as encoded, at most half a byte per pixel, and once more when they are put together.
    return _Need(
        frames * _pixels(size),
        max(
            _IMAGE * (3 * _pixels(base) + base[1] * source[0] + _pixels(source)),
            _IMAGE * (_pixels(base) + _pixels(source) + 3 * _pixels(size)) + 3 * frames * _pixels(size),
        ),
    )


def _of_editing(inputs: Inputs, sizes: Mapping[str, Size]) -> _Need:
    base = sizes.get("base_image_url", (0, 0))
    result = editing.result_size(inputs, base)
    references = [_pixels(size) for field, size in sizes.items() if field.startswith("reference_image_urls[")]
    overlay = sizes.get("overlay_image_url", (0, 0))
    scale = number(inputs, "scale", 1, 0, 16)
    scaled = max(1, round(overlay[0] * scale)), max(1, round(overlay[1] * scale))
    pixels = max(_pixels(base), _pixels(result))
    memory = 3 * _IMAGE * pixels + _STRIP * min(pixels, images.STRIP_PIXELS)
    memory += sum(references) * 2 * _IMAGE
    if _pixels(overlay):
        memory += _DECODED * _pixels(overlay) + 3 * _IMAGE * _pixels(scaled)
    if mask := _pixels(sizes.get("mask_image_url", (0, 0))):
        memory += _DECODED * mask + 2 * _IMAGE * pixels
    return _Need(pixels + _pixels(scaled), memory)


def _filtered(size: Size, halo: int) -> int:
    """Return the bytes that `by_strips` needs for an image of that size, or that its PNG needs if that is more."""
    rows = min(size[1], images.strip_rows(size, halo) + 2 * halo) if _pixels(size) else 0
    return max(_IMAGE * _pixels(size) + _STRIP * size[0] * rows, _ENCODED * _pixels(size))


def _pixels(size: Size) -> int:
    return size[0] * size[1]


def _decoding(file: IO[bytes], size: Size) -> int:
    """Return the bytes that are needed while *file* is decoded. A WebP is read into memory as a whole."""
    if not images.is_webp(file):
        return _DECODED * _pixels(size)
    return _DECODED_WEBP * _pixels(size) + file.seek(0, os.SEEK_END)
