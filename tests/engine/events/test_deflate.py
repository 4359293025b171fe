"""Compressed parts make up one stream of zlib, in which streams ever they stand."""

import random
import zlib

import pytest

from stepwell.engine.events.deflate import DeflateStream, deflate

PARTS = [
    b"",
    b"short",
    b"x" * 1_000,
    b'{"type":"step.started"}' * 200,
    random.Random(1).randbytes(3_000),
    b"large" * 60_000,
]


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_of_a_stream_are_its_content_in_order(seed: int) -> None:
    chosen = random.Random(seed).choices(PARTS, k=8)
    shared = {part: deflate(part) for part in PARTS}
    stream, inflater = DeflateStream(), zlib.decompressobj()
    for part in chosen:
        assert inflater.decompress(stream.add(shared[part])) == part  # nothing waits for what follows
    assert (inflater.decompress(stream.finish()), inflater.eof, inflater.unused_data) == (b"", True, b"")


def test_a_part_that_is_discarded_does_not_count() -> None:
    stream = DeflateStream()
    sent = stream.add(deflate(b"sent"))
    stream.add(deflate(b"not sent"))
    stream.discard_last()
    assert zlib.decompress(sent + stream.finish()) == b"sent"
