"""Content Credentials are found in the places of the C2PA specification, in whatever pieces a file arrives."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stepwell.basics.content_credentials import MAX_PARTS, CredentialsDetector, has_credentials

JUMBF = b"\0\0\0\x40jumb\0\0\0\x26jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0" + bytes(40)
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def image(kind: str, side: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 90).save(buffer, kind)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(data)) + data


def webp(chunks: bytes) -> bytes:
    plain = image("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(plain) + len(chunks)) + b"WEBP" + plain + chunks


PNG, JPEG = image("PNG"), image("JPEG")
FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
APP11 = segment(0xEB, b"JP\0\1\0\0\0\1" + JUMBF)
LONG_APP11 = segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\1jumb" + bytes(7) + b"\x48" + JUMBF[8:])
LARGE_BOX = struct.pack(">I", 1) + b"mdat" + struct.pack(">Q", 16 + 5) + b"12345"
ENDLESS_BOX = struct.pack(">I", 1) + b"mdat" + b"\xff" * 8
SIGNED = {
    "png": PNG[:33] + png_chunk(b"caBX", JUMBF) + PNG[33:],
    "png, behind the image": PNG[:-12] + png_chunk(b"caBX", JUMBF) + PNG[-12:],
    "jpeg": JPEG[:20] + APP11 + JPEG[20:],
    "jpeg, first": JPEG[:2] + APP11 + JPEG[2:],
    "jpeg, behind another APP11": JPEG[:2] + segment(0xEB, b"other") + b"\xff\xff" + APP11 + JPEG[2:],
    "jpeg, behind an empty segment": JPEG[:2] + segment(0xE3, b"") + APP11 + JPEG[2:],
    "jpeg, with a long box": JPEG[:2] + LONG_APP11 + JPEG[2:],
    "webp": webp(b"C2PA" + struct.pack("<I", len(JUMBF)) + JUMBF),
    "webp, behind a chunk of odd length": webp(b"XMP \3\0\0\0abc\0C2PA" + struct.pack("<I", len(JUMBF)) + JUMBF),
    "mp4": FTYP + box(b"uuid", UUID + JUMBF) + box(b"mdat", bytes(300)),
    "mp4, at the end": FTYP + box(b"uuid", bytes(16)) + LARGE_BOX + box(b"uuid", UUID + JUMBF),
}
UNSIGNED = {
    "png": PNG,
    "png with other chunks": PNG[:33] + png_chunk(b"tEXt", b"caBX\0c2pa jumb") + PNG[33:],
    "png, behind its end": PNG + png_chunk(b"caBX", JUMBF),
    "jpeg": JPEG,
    "jpeg with another box": JPEG[:2]
    + segment(0xEB, b"JP\0\1\0\0\0\1" + JUMBF.replace(b"jumdc2pa", b"jumdabcd"))
    + JPEG[2:],
    "jpeg with a broken length": JPEG[:2] + b"\xff\xe0\0\1" + APP11,
    "jpeg, in its comment": JPEG[:2] + segment(0xFE, APP11) + JPEG[2:],
    "webp": webp(b""),
    "gif": image("GIF"),
    "mp4": FTYP + box(b"mdat", bytes(300)),
    "mp4 with a box to its end": FTYP + b"\0\0\0\0mdat" + box(b"uuid", UUID + JUMBF),
    "mp4 with a broken length": FTYP + b"\0\0\0\7free" + box(b"uuid", UUID + JUMBF),
    "mp4 with a length that no file has": FTYP + ENDLESS_BOX + box(b"uuid", UUID + JUMBF),
    "text": b"caBX C2PA jumb c2pa",
    "empty": b"",
}


def found(data: bytes, piece: int) -> bool:
    detector = CredentialsDetector()
    for begin in range(0, len(data), piece):
        detector.feed(data[begin : begin + piece])
    return detector.found


@pytest.mark.parametrize("name", SIGNED)
def test_a_manifest_is_found(name: str) -> None:
    data = SIGNED[name]
    assert has_credentials(io.BytesIO(data))
    assert all(found(data, piece) for piece in (1, 3, 7, 64, len(data)))


@pytest.mark.parametrize("name", UNSIGNED)
def test_other_files_have_none(name: str) -> None:
    data = UNSIGNED[name]
    assert not has_credentials(io.BytesIO(data))
    assert not any(found(data, piece) for piece in (1, 3, 7, 64, len(data) or 1))


@given(
    st.sampled_from([*SIGNED.values(), *UNSIGNED.values()]),
    st.integers(0, 500),
    st.binary(max_size=9),
    st.integers(1, 50),
)
def test_both_ways_of_reading_agree_on_broken_files(data: bytes, at: int, wrong: bytes, piece: int) -> None:
    broken = data[:at] + wrong + data[at + len(wrong) :]
    for each in (broken, data[:at]):
        assert has_credentials(io.BytesIO(each)) == found(each, piece)


def test_the_search_ends_in_a_file_of_many_parts() -> None:
    many = PNG[:33] + png_chunk(b"tEXt", b"") * (MAX_PARTS + 10) + png_chunk(b"caBX", JUMBF) + PNG[33:]
    assert not has_credentials(io.BytesIO(many))
    assert not found(many, 1 << 20)
    fill = JPEG[:2] + b"\xff" * 5_000_000 + APP11
    assert not has_credentials(io.BytesIO(fill))
