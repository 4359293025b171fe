"""The types of files as their bytes show them."""

import io
import struct

import pytest
from PIL import Image

from providers.image_files import empty_png
from stepwell.engine.files.inspection import Inspection, inspect
from stepwell.rules.uploads import UploadContents

CHUNK = 1 << 20


def box(brand: bytes, *compatible: bytes) -> bytes:
    """Return the first box of an MP4 file or one of its relatives, and some bytes of the next."""
    contents = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(contents) + 4) + contents + b"\x00\x00\x00\x08free"


def picture(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 6)).save(data, kind)
    return data.getvalue()


def inspection_of(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    path = tmp_path_factory.getbasetemp() / "inspected"
    path.write_bytes(data)
    with path.open("rb") as file:
        return inspect(file)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_images_have_a_type_and_a_size(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    contents = UploadContents(f"image/{kind.lower()}", 8, 6)
    assert inspection_of(picture(kind), tmp_path_factory) == Inspection(contents)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (box(b"isom", b"mp42"), "video/mp4"),
        (box(b"qt  "), "video/quicktime"),
        (box(b"M4A ", b"M4A "), "audio/mp4"),
        (box(b"heic", b"heic"), "image/heic"),
        (b"\x1a\x45\xdf\xa3\x42\x82\x84webm" + bytes(20), "video/webm"),
        (b"\x1a\x45\xdf\xa3\x42\x82\x88matroska" + bytes(20), "video/x-matroska"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(20), "audio/wav"),
        (b"OggS" + bytes(20), "audio/ogg"),
        (b"fLaC" + bytes(20), "audio/flac"),
        (b"ID3\x04" + bytes(20), "audio/mpeg"),
        (b'{"a": [1, null]}', "application/json"),
        (b" \n[]\n", "application/json"),
        (b'{"a": 1} trailing', "text/plain"),
        (b"[" * 100_000 + b"]" * 100_000, "text/plain"),
        (b"12", "text/plain"),
        ("\ufeffein schöner Text\r\n\f".encode(), "text/plain"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "text/plain"),
        (b"<!DOCTYPE html><script>alert(1)</script>", "text/plain"),
        (b"x" * (CHUNK - 1) + "ü".encode(), "text/plain"),
    ],
)
def test_other_files_have_a_type(data: bytes, media_type: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert inspection_of(data, tmp_path_factory) == Inspection(UploadContents(media_type))


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.4 all of it ASCII",
        b"PK\x03\x04" + bytes(20),
        b"\x7fELF" + bytes(60),
        b"MZ" + bytes(60),
        b"text with \x00 in it",
        b"text with \x08 in it",
        b"x" * (CHUNK - 1) + "ü".encode()[:1],
        "UTF-16".encode("utf-16"),
        picture("PNG")[:30],
        b"BM" + bytes(40),
        box(b"avif", b"avif"),
    ],
)
def test_anything_else_is_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    inspection = inspection_of(data, tmp_path_factory)
    assert inspection.contents is None
    assert inspection.refusal


@pytest.mark.parametrize(
    ("pixels", "refusal"),
    [(178_956_970, ""), (178_956_971, "The image has more than 178,956,970 pixels: make it smaller.")],
)
def test_the_refusal_of_a_bomb_names_the_bound(
    pixels: int, refusal: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert inspection_of(empty_png(pixels, 1), tmp_path_factory).refusal == refusal
