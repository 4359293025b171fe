"""VIDEO_GENERATION: a camera moves over the image. The file is an animated WebP, which every browser plays.

It isn't written by Pillow, because that merges frames that look alike, so that a video of a plain image would have too
few frames, and because it keeps all frames in memory. The format: developers.google.com/speed/webp/docs/riff_container
"""

import io
import struct
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO

from PIL import Image

from stepwell.basics.errors import AttemptError
from stepwell.outbound.sanitise import invalid_input
from stepwell.providers.local.rendering import Inputs, RenderedFile, integer, number, text
from stepwell.providers.shared import images

MOTIONS = ("zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up", "pan_down")
MAX_FRAMES = 600
MAX_VIDEO_PIXELS = 256 * 1024 * 1024  # of all frames together: about 15 s of work
_DEFAULT_SIDE = 512
_MAX_SIDE = 2048
_TRAVEL = 0.2  # the part of the image across which the camera moves
_QUALITY = 80
_HAS_ANIMATION = 0x02
_HEADER = 12  # bytes of a WebP file: "RIFF", size, "WEBP"


def animate(inputs: Inputs, files: images.Files, _seed: int) -> RenderedFile:
    """Make a video of the base image: duration_s (up to 60, 4; at least a frame), fps (1 to 60, 12), motion (zoom_in).

    width and height are up to 2048. One alone keeps the proportions; without both, the longer side is at most 512.
    pan_left means that the camera moves to the left. The prompt is not interpreted. Transparent images get a white
    background.
    """
    motion = text(inputs, "motion", "zoom_in")
    if motion not in MOTIONS:
        raise invalid_input("motion", f"must be one of {', '.join(MOTIONS)}")
    fps = number(inputs, "fps", 12, 1, 60)
    frames = frame_count(inputs)
    image = images.open_image(files, "base_image_url")
    size = video_size(inputs, image.size)
    if frames > MAX_FRAMES or frames * size[0] * size[1] > MAX_VIDEO_PIXELS:
        message = f"duration_s, fps: {frames} frames of {size[0]}x{size[1]} are more than LOCAL makes"
        raise AttemptError(message, retryable=False)
    times = [round(1000 * n / fps) for n in range(frames + 1)]
    views = _views(_source(image, size), size, motion, frames)
    encoded = ((_encode(frame), times[n + 1] - times[n]) for n, frame in enumerate(views))
    facts = {"width": size[0], "height": size[1], "format": "WEBP", "fps": fps, "frames": frames}
    facts |= {"duration_s": times[-1] / 1000, "motion": motion}
    return RenderedFile(partial(write_animation, size, encoded), facts)


def frame_count(inputs: Inputs) -> int:
    return max(1, round(number(inputs, "duration_s", 4, 0, 60) * number(inputs, "fps", 12, 1, 60)))


def video_size(inputs: Inputs, base: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of the video of an image of size *base*."""
    width, height = integer(inputs, "width", 1, _MAX_SIDE), integer(inputs, "height", 1, _MAX_SIDE)
    if width and height:
        return width, height
    shrink = min(1.0, _DEFAULT_SIDE / max(base))
    if width or height:
        shrink = width / base[0] if width else (height or 1) / base[1]
    computed_width, computed_height = (max(1, min(_MAX_SIDE, round(side * shrink))) for side in base)
    return width or computed_width, height or computed_height


def _source(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image in the proportions of the video, of `source_size`."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return images.cover(image if image.mode == "RGB" else image.convert("RGB"), source_size(size))


def source_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the image that a video of *size* needs, so that the closest view is sharp."""
    return max(2, round(size[0] / (1 - _TRAVEL))), max(2, round(size[1] / (1 - _TRAVEL)))


def _views(source: Image.Image, size: tuple[int, int], motion: str, frames: int) -> Iterator[Image.Image]:
    for n in range(frames):
        progress = n / max(1, frames - 1)
        eased = progress * progress * (3 - 2 * progress)  # starts and stops gently
        yield source.resize(size, Image.Resampling.BICUBIC, box=_view(source.size, motion, eased))


def _view(size: tuple[int, int], motion: str, progress: float) -> tuple[float, float, float, float]:
    """Return the box that the camera sees in an image of *size*, at *progress* from 0 to 1."""
    if motion in {"zoom_out", "pan_left", "pan_up"}:
        progress = 1 - progress
    visible = 1 - _TRAVEL * (progress if motion.startswith("zoom") else 1)
    width, height = size[0] * visible, size[1] * visible
    spare_x, spare_y = size[0] - width, size[1] - height
    left = spare_x * (progress if motion in {"pan_left", "pan_right"} else 0.5)
    top = spare_y * (progress if motion in {"pan_up", "pan_down"} else 0.5)
    return left, top, min(left + width, size[0]), min(top + height, size[1])


def _encode(frame: Image.Image) -> bytes:
    target = io.BytesIO()
    frame.save(target, "WEBP", quality=_QUALITY, method=2)
    return target.getvalue()


def write_animation(size: tuple[int, int], frames: Iterable[tuple[bytes, int]], target: IO[bytes]) -> None:
    """Write a video of *frames*, all of *size* (width, height in pixels), that repeats endlessly.

    A frame is a simple lossy WebP file without transparency, and the milliseconds for which it is shown.
    """
    width, height = size
    target.write(b"RIFF" + bytes(4) + b"WEBP")
    target.write(_chunk(b"VP8X", struct.pack("<I", _HAS_ANIMATION) + _int24(width - 1) + _int24(height - 1)))
    target.write(_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0)))
    offset_and_size = _int24(0) * 2 + _int24(width - 1) + _int24(height - 1)
    for file, milliseconds in frames:
        target.write(_chunk(b"ANMF", offset_and_size + _int24(milliseconds) + b"\x02" + file[_HEADER:]))
    end = target.tell()
    target.seek(4)
    target.write(struct.pack("<I", end - 8))
    target.seek(end)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _int24(value: int) -> bytes:
    return value.to_bytes(3, "little")
