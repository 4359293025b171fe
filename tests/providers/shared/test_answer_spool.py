"""The buffer of an answer: in memory, in a file, and in both if the disk becomes full."""

from contextlib import closing
from typing import Any

import pytest

from stepwell.providers.shared import provider_api
from stepwell.providers.shared.provider_api import AnswerSpool
from stepwell.runtime.memory import FREE_BYTES

CHUNKS = [bytes([number]) * (FREE_BYTES // 2) for number in range(7)]


async def stored(chunks: list[bytes]) -> bytes:
    with closing(AnswerSpool()) as spool:
        for chunk in chunks:
            await spool.write(chunk)
        assert spool.size == sum(map(len, chunks))
        return await spool.read()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
async def test_an_answer_comes_back_as_it_came(count: int) -> None:
    assert await stored(CHUNKS[:count]) == b"".join(CHUNKS[:count])


class FullDisk:
    """A file that takes *space* bytes."""

    def __init__(self, space: int) -> None:
        self._space, self._data = space, b""

    def write(self, data: memoryview) -> int:
        if len(self._data) == self._space:
            raise OSError(28, "No space left on device")
        written = bytes(data[: self._space - len(self._data)])
        self._data += written
        return len(written)

    def seek(self, _place: int) -> None:
        pass

    def read(self) -> bytes:
        return self._data

    def close(self) -> None:
        pass


@pytest.mark.parametrize("space", [0, 1, FREE_BYTES, 2 * FREE_BYTES + 1])
async def test_an_answer_survives_a_full_disk(space: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_api, "TemporaryFile", lambda **_: FullDisk(space))
    assert await stored(CHUNKS) == b"".join(CHUNKS)


async def test_an_answer_survives_a_disk_that_takes_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(provider_api, "TemporaryFile", refuse)
    assert await stored(CHUNKS) == b"".join(CHUNKS)
