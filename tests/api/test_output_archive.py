"""The bytes of the ZIP of outputs: they are what `zipfile` reads, have the length that was announced, and never an end
that hides a fault."""

import hashlib
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell.api.responses import output_archive
from stepwell.api.responses.output_archive import ArchivedFile, archive, archive_length
from stepwell.basics.errors import ArtifactError, ArtifactGone
from stepwell.contract.tasks import Output
from stepwell.ports.artifacts import Artifacts

NOW = datetime(2026, 12, 1, 10, 20, 30, tzinfo=UTC)
LIMIT, FILES_LIMIT = 500, 4


class Files:
    """A store that has *contents*, in chunks of up to 64 KiB or of *chunk* bytes."""

    def __init__(self, contents: dict[str, bytes], chunk: int) -> None:
        self._contents, self._chunk = contents, chunk

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if path not in self._contents:
            raise ArtifactGone(path)
        data = self._contents[path]

        async def chunks() -> AsyncIterator[bytes]:
            for begin in range(0, len(data), self._chunk):
                yield data[begin : begin + self._chunk]

        yield chunks()


def files_of(contents: dict[str, bytes]) -> list[ArchivedFile]:
    return [
        ArchivedFile(f"s/{name}", Output(name, len(data), hashlib.sha256(data).hexdigest()))
        for name, data in contents.items()
    ]


async def chunks_of(
    files: list[ArchivedFile], contents: dict[str, bytes], chunk: int = 1 << 20
) -> AsyncIterator[bytes]:
    async for part in archive(files, cast("Artifacts", cast("Any", Files(contents, chunk))), NOW):
        yield part


@pytest.fixture(scope="module")
def low_limits() -> Any:
    """The limits where ZIP64 begins are so low that small files reach them, here and in `zipfile`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", LIMIT)
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", FILES_LIMIT)
        patch.setattr(output_archive, "_LIMIT", LIMIT)
        patch.setattr(output_archive, "_FILES_LIMIT", FILES_LIMIT)
        yield


@pytest.mark.usefixtures("low_limits")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text("ab%~.-", min_size=1, max_size=9), st.integers(0, 2 * LIMIT), max_size=2 * FILES_LIMIT),
    st.integers(1, LIMIT),
)
async def test_a_zip_of_any_files_has_the_announced_length_and_their_contents(
    sizes: dict[str, int], chunk: int
) -> None:
    contents = {name: bytes(number % 251 for number in range(size)) for name, size in sizes.items()}
    files = files_of(contents)
    data = b"".join([part async for part in chunks_of(files, contents, chunk)])
    assert len(data) == archive_length(files)
    with zipfile.ZipFile(BytesIO(data)) as found:
        assert {name.removeprefix("s/"): found.read(name) for name in found.namelist()} == contents
        assert {info.compress_type for info in found.infolist()} <= {zipfile.ZIP_STORED}
        assert {info.date_time for info in found.infolist()} <= {(2026, 12, 1, 10, 20, 30)}


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (None, ArtifactGone),
        (b"", ArtifactError),
        (b"whol", ArtifactError),
        (b"whale", ArtifactError),
        (b"whole and more" * 100_000, ArtifactError),
    ],
    ids=["missing", "empty", "short", "other", "long"],
)
async def test_a_file_that_is_not_as_recorded_ends_the_zip_in_front_of_its_list(
    stored: bytes | None, error: type[Exception]
) -> None:
    files = files_of({"first": b"x" * 100_000, "second": b"whole", "third": b"y"})
    contents = {"first": b"x" * 100_000, "third": b"y"} | ({} if stored is None else {"second": stored})
    sent = list[bytes]()

    async def read() -> None:
        async for part in chunks_of(files, contents):
            sent.append(part)

    with pytest.raises(error):
        await read()
    assert len(b"".join(sent)) > 100_000
    assert not zipfile.is_zipfile(BytesIO(b"".join(sent)))


async def test_a_reader_that_leaves_stops_the_zip() -> None:
    contents = {"a": b"x" * 300_000}
    parts = chunks_of(files_of(contents), contents, 100_000)
    assert len(await anext(parts)) > 100_000
    await cast("Any", parts).aclose()
