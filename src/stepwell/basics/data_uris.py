"""Base64 and data URIs (RFC 2397, RFC 4648) of any size.

The standard library converts a text in one call that holds the interpreter lock: a file of 16 MiB takes 0.1 s, in which
no other thread runs, the event loop included. So the functions here convert it in slices. Call them in a thread.
"""

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_SLICE = 3 << 18  # bytes or characters: a multiple of 3 and of 4
_WHITESPACE = b" \t\r\n\v\f"
MAX_ESCAPES = 1_000_000  # percent-encoded characters. Decoding so many takes 0.6 s


def encode_base64(data: bytes) -> str:
    return "".join(base64.b64encode(part).decode("ascii") for part in _slices(data))


def decode_base64(text: str | bytes) -> bytes:
    """Decode base64 with padding. Raises ValueError for anything else."""
    packed = text.encode("ascii") if isinstance(text, str) else text
    data = bytearray()
    for part in _slices(packed):
        if data and len(data) % 3:
            raise ValueError("padding inside of base64")
        data += binascii.a2b_base64(part, strict_mode=True)
    return bytes(data)


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{encode_base64(data)}"


def decode_data(body: str, *, is_base64: bool) -> bytes:
    """Decode the data behind the comma of a data URI: percent-encoded, and then in base64 with *is_base64*.

    In base64, white space and missing padding are accepted. Raises ValueError for anything else that is wrong.
    """
    if body.count("%") > MAX_ESCAPES:
        raise ValueError(f"more than {MAX_ESCAPES:,} percent-encoded characters: use base64")
    parts = (unquote_to_bytes(part) for part in _percent_encoded_slices(body))
    if not is_base64:
        return b"".join(parts)
    packed = b"".join(part.translate(None, _WHITESPACE) for part in parts).rstrip(b"=")
    return decode_base64(packed + b"=" * (-len(packed) % 4))


def _slices(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(data), _SLICE):
        yield view[start : start + _SLICE]


def _percent_encoded_slices(body: str) -> Iterator[str]:
    """Yield *body* in slices that don't divide a `%41`."""
    start = 0
    while start < len(body):
        end = start + _SLICE
        if (escape := body.rfind("%", end - 2, end)) >= 0:
            end = escape + 3
        yield body[start:end]
        start = end
