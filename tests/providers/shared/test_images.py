"""Reading: what a hostile or broken file can do. Writing: the same pixels, the same bytes."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from providers.image_files import file_of, gradient, picture_of
from stepwell.basics.errors import AttemptError
from stepwell.providers.shared import images


def read(data: bytes) -> Image.Image:
    return images.open_image({"base_image_url": io.BytesIO(data)}, "base_image_url")


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that promises *width* x *height* pixels and has none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1_000) + b"IDAT"


@pytest.mark.parametrize("size", [(8_001, 8_000), (10_000, 10_000), (60_000, 60_000), (64_000_001, 1)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(AttemptError, match=r"base_image_url: .*more than 64 megapixels") as refusal:
        read(header_only_png(*size))
    assert not refusal.value.retryable


BROKEN = {
    "empty": b"",
    "text": b"<html>not found</html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    "png without pixels": header_only_png(10, 10),
    "zero size": header_only_png(0, 0),
    "truncated png": file_of(gradient())[:-600],
    "truncated jpeg": file_of(gradient(), "JPEG")[:-300],
    "truncated webp": file_of(gradient(), "WEBP", lossless=True)[:-300],
    "truncated gif": file_of(gradient(), "GIF")[:900],
    "damaged png": file_of(gradient())[:60] + b"\0" * 40 + file_of(gradient())[100:],
    "a byte": b"\x89",
    "png magic": b"\x89PNG\r\n\x1a\n",
    "random": np.random.default_rng(0).bytes(5_000),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_picture_is_refused_with_the_fields_name(data: bytes) -> None:
    with pytest.raises(AttemptError, match=r"^base_image_url: ") as refusal:
        read(data)
    assert not refusal.value.retryable


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_anywhere_never_crashes(kind: str) -> None:
    whole, noise = file_of(gradient(40, 30), kind), np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for place in noise.integers(0, len(data), 8):
            data[place] = int(noise.integers(0, 256))
        try:
            assert read(bytes(data)).mode in {"RGB", "RGBA"}
        except AttemptError as refusal:
            assert not refusal.retryable  # noqa: PT017


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr"])
def test_every_mode_becomes_rgb_or_rgba(mode: str) -> None:
    image = gradient().convert("L").convert(mode) if mode == "I;16" else gradient().convert(mode)
    kind = "TIFF" if mode in {"CMYK", "F", "YCbCr"} else "PNG"
    assert read(file_of(image, kind)).mode == ("RGBA" if "A" in mode else "RGB")


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16))
    assert read(file_of(levels)).convert("L").tobytes() == bytes([0, 128, 255])


def test_transparency_of_a_palette_is_kept() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    assert read(file_of(image, transparency=0)).getpixel((0, 0)) == (255, 0, 0, 0)


def test_a_photograph_taken_sideways_is_rotated_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read(file_of(gradient(96, 64), "JPEG", exif=exif))
    assert image.size == (64, 96)


def test_metadata_doesnt_reach_the_result() -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    data = file_of(gradient(), "PNG", exif=exif, dpi=(300, 300), icc_profile=b"x" * 200)
    assert images.png(read(data)) == images.png(gradient())


def test_the_same_pixels_give_the_same_bytes() -> None:
    data = images.png(gradient())
    assert data == images.png(gradient())
    assert picture_of(data).tobytes() == gradient().tobytes()
    assert b"tIME" not in data


def test_a_missing_input_is_named() -> None:
    with pytest.raises(AttemptError, match="base_image_url: is required"):
        images.open_image({}, "base_image_url")


def test_a_long_animation_is_read_as_its_first_frame() -> None:
    target = io.BytesIO()
    gradient().save(target, "GIF", save_all=True, append_images=[Image.new("RGB", (96, 64))] * 20)
    assert read(target.getvalue()).getpixel((95, 0)) != (0, 0, 0)
