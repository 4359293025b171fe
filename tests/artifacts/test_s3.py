"""What is special about a bucket: its prefix, parts, outages, and which of its details may be shown.

Moto's server checks no signatures, see `support.emulators.s3`.
"""

import asyncio
import logging
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from uuid import UUID

import pytest
import structlog
from msgspec.structs import replace

from stepwell.artifacts import s3 as module
from stepwell.artifacts.s3 import PART, Bucket
from stepwell.artifacts.store import CHUNK, ObstoreArtifacts
from stepwell.basics.errors import ArtifactError, ArtifactGone
from support.emulators.s3 import KEY_ID, SECRET_KEY, S3Server

TASK = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")
PATH = f"media/{TASK}/result.png"
KEY = f"some/where/{PATH}"


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    made = s3.bucket()
    s3.calls.clear()
    return made


@pytest.fixture
def store(bucket: Bucket) -> ObstoreArtifacts:
    return ObstoreArtifacts.s3(bucket)


async def all_paths(store: ObstoreArtifacts) -> list[str]:
    return sorted([path async for page in store.paths() for path in page])


async def read(store: ObstoreArtifacts) -> list[bytes]:
    async with store.stream(PATH) as chunks:
        return [chunk async for chunk in chunks]


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def everything(store: ObstoreArtifacts) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "put": lambda: store.put(PATH, b"x"),
        "put_stream": lambda: store.put_stream(PATH, chunks_of(b"x")),
        "get": lambda: store.get(PATH),
        "stream": lambda: read(store),
        "has": lambda: store.has(PATH),
        "delete": lambda: store.delete(PATH),
        "discard": lambda: store.discard(TASK),
        "paths": lambda: all_paths(store),
    }


async def faults_of(store: ObstoreArtifacts) -> dict[str, ArtifactError]:
    """What each call raises; it must be nothing else."""
    faults: dict[str, ArtifactError] = {}

    async def fail(name: str, call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ArtifactError) as caught:
            await call()
        faults[name] = caught.value

    async with asyncio.TaskGroup() as group:
        for name, call in everything(store).items():
            group.create_task(fail(name, call))
    return faults


async def test_objects_outside_of_the_prefix_are_neither_listed_nor_removed(
    s3: S3Server, bucket: Bucket, store: ObstoreArtifacts
) -> None:
    await store.put(PATH, b"x")
    strangers = [
        f"media/{TASK}/theirs.png",
        f"some/media/{TASK}/theirs.png",
        f"some/wheremedia/{TASK}/x",
        "some/where/x",
    ]
    for key in strangers:
        s3.put(bucket, key)
    assert await all_paths(store) == [PATH]
    assert sorted(s3.keys(bucket)) == sorted([KEY, *strangers])
    await store.discard(TASK)
    assert sorted(s3.keys(bucket)) == sorted(strangers)


async def test_a_bucket_needs_no_prefix(s3: S3Server) -> None:
    bucket = s3.bucket(prefix="")
    store = ObstoreArtifacts.s3(bucket)
    await store.put(PATH, b"x")
    assert s3.keys(bucket) == [PATH]
    assert await all_paths(store) == [PATH]


async def test_foreign_paths_are_refused_without_a_request(s3: S3Server, store: ObstoreArtifacts) -> None:
    for path in (
        "",
        "x",
        f"media/{TASK}",
        f"media/{TASK}/../x",
        f"/{PATH}",
        f"media/{TASK}/x?y",
        f"media/{TASK}/%2e%2e",
    ):
        with pytest.raises(ArtifactError):
            await store.put(path, b"x")
        for call in (store.get, store.delete, partial(store.signed_url, ttl_s=60)):
            with pytest.raises(ArtifactGone):
                await call(path)
    assert s3.calls == []


async def test_foreign_objects_are_not_listed(s3: S3Server, bucket: Bucket, store: ObstoreArtifacts) -> None:
    await store.put(PATH, b"x")
    for key in (f"media/{TASK}/sub/x.png", f"media/{TASK}/.part-x", "media/readme.txt"):
        s3.put(bucket, f"some/where/{key}")
    assert await all_paths(store) == [PATH]


async def test_a_large_file_is_uploaded_in_parts_and_read_in_chunks(s3: S3Server, store: ObstoreArtifacts) -> None:
    data = os.urandom(PART + 17)
    await store.put_stream(PATH, chunks_of(data[:CHUNK], data[CHUNK:]))
    assert sorted(s3.kinds()) == ["POST uploadId", "POST uploads", "PUT partNumber", "PUT partNumber"]
    found = await read(store)
    assert b"".join(found) == data
    assert 4 <= len(found) <= 10


async def test_an_upload_with_a_failed_part_leaves_nothing(
    s3: S3Server, bucket: Bucket, store: ObstoreArtifacts
) -> None:
    await store.put(PATH, b"old")
    s3.always("PUT partNumber", 403, "AccessDenied")
    with pytest.raises(ArtifactError, match="could not be written: HTTP 403 AccessDenied"):
        await store.put(PATH, bytes(PART + 1))
    s3.heal()
    assert await store.get(PATH) == b"old"
    assert s3.keys(bucket) == [KEY]


@pytest.mark.parametrize("kind", ["PUT", "GET", "HEAD", "DELETE", "GET list-type"])
async def test_a_request_is_repeated_after_a_bad_response(s3: S3Server, store: ObstoreArtifacts, kind: str) -> None:
    s3.once(kind)
    await store.put(PATH, b"x")
    assert await store.get(PATH) == b"x"
    assert await all_paths(store) == [PATH]
    await store.delete(PATH)
    assert s3.kinds().count(kind) >= 2


async def test_a_refused_connection_is_reported_as_no_connection() -> None:
    nowhere = Bucket(
        name="pictures", endpoint="http://127.0.0.1:1", region="x", access_key_id="a", secret_access_key="b"
    )
    for name, fault in (await faults_of(ObstoreArtifacts.s3(nowhere))).items():
        assert str(fault).endswith(": no connection"), name


async def test_a_server_that_does_not_respond_is_reported_as_a_timeout(
    s3: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module._CLIENT, "read_timeout", "100ms")
    s3.hold("PUT")
    try:
        with pytest.raises(ArtifactError, match="could not be written: no response in time"):
            await ObstoreArtifacts.s3(bucket).put(PATH, b"x")
    finally:
        s3.heal()
    assert 1 <= s3.kinds().count("PUT") <= 4


@pytest.mark.extended  # the clock of the deadline is the library's, so the time really passes
async def test_a_slow_reader_gets_the_whole_file(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(10 * CHUNK)
    await ObstoreArtifacts.s3(bucket).put(PATH, data)
    monkeypatch.setitem(module._CLIENT, "read_timeout", "1s")
    monkeypatch.setitem(module._RETRIES, "max_retries", 0)
    found = []
    async with ObstoreArtifacts.s3(bucket).stream(PATH) as chunks:
        async for chunk in chunks:
            found.append(chunk)
            await asyncio.sleep(0.15)  # the reader is slow: ten of these are longer than the deadline
    assert b"".join(found) == data


async def test_an_outage_raises_the_errors_of_a_broken_disk(s3: S3Server, store: ObstoreArtifacts) -> None:
    await store.put(PATH, b"x")
    for kind in ("PUT", "GET", "HEAD", "DELETE", "GET list-type"):
        s3.always(kind)
    faults = {name: str(fault) for name, fault in (await faults_of(store)).items()}
    assert faults == {
        "put": f"'{PATH}' could not be written: HTTP 503 SlowDown",
        "put_stream": f"'{PATH}' could not be written: HTTP 503 SlowDown",
        "get": f"'{PATH}' could not be read: HTTP 503 SlowDown",
        "stream": f"'{PATH}' could not be read: HTTP 503 SlowDown",
        "has": f"'{PATH}' could not be read: HTTP 503",
        "delete": f"'{PATH}' could not be read: HTTP 503",
        "discard": f"'media/{TASK}' could not be deleted: HTTP 503 SlowDown",
        "paths": "'media' could not be listed: HTTP 503 SlowDown",
    }
    s3.heal()
    assert await store.get(PATH) == b"x"


async def test_a_missing_bucket_does_not_count_as_missing_files(s3: S3Server, bucket: Bucket) -> None:
    """Else a cleanup would take all files for deleted."""
    lost = ObstoreArtifacts.s3(replace(bucket, name="pictures-that-are-nowhere"))
    for name in ("put", "put_stream", "get", "stream", "delete", "discard", "paths"):
        call = everything(lost)[name]
        with pytest.raises(ArtifactError, match="HTTP 404 NoSuchBucket"):
            await call()


async def test_a_download_that_breaks_off_is_resumed(s3: S3Server, store: ObstoreArtifacts) -> None:
    data = os.urandom(3 * CHUNK)
    await store.put(PATH, data)
    s3.cut("GET", CHUNK + 1)
    assert b"".join(await read(store)) == data
    s3.cut("GET", 0)
    with pytest.raises(ArtifactError, match="could not be read"):
        await read(store)


async def test_no_error_and_no_log_contains_a_key(
    s3: S3Server, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    """Amazon's response to a wrong key names the key."""
    store = ObstoreArtifacts.s3(bucket)
    for kind in ("PUT", "GET", "HEAD", "DELETE", "GET list-type"):
        s3.always(kind, 403, "InvalidAccessKeyId")
    log = structlog.wrap_logger(logging.getLogger("test"), processors=[structlog.processors.format_exc_info, str_event])
    said = [repr(bucket), str(bucket), repr(store), repr(store._store), str(vars(store))]
    for fault in (await faults_of(store)).values():
        said += [str(fault), repr(fault), *traceback.format_exception(fault)]
        assert fault.__suppress_context__
        log.error("failed", exc_info=fault)
    with pytest.raises(ArtifactError) as caught:
        await store.check()
    said += [*traceback.format_exception(caught.value), caplog.text]
    assert "InvalidAccessKeyId" in caplog.text
    for secret in (KEY_ID, SECRET_KEY, "X-Amz", "Signature"):
        assert [text for text in said if secret in text] == []


def str_event(_: object, __: str, event: structlog.typing.EventDict) -> str:
    return str(event)


@pytest.mark.parametrize(
    ("kind", "status", "code", "said"),
    [
        ("PUT", 404, "NoSuchBucket", "no file can be written there: HTTP 404 NoSuchBucket"),
        ("PUT", 403, "SignatureDoesNotMatch", "no file can be written there: HTTP 403 SignatureDoesNotMatch"),
        ("PUT", 301, "PermanentRedirect", "no file can be written there: the bucket is in another region"),
        (
            "PUT",
            400,
            "AuthorizationHeaderMalformed",
            "no file can be written there: HTTP 400 AuthorizationHeaderMalformed",
        ),
        ("PUT", 501, "not a code", "no file can be written there: HTTP 501"),
        ("PUT", 200, "", "no file can be written there: GenericError"),  # not S3 at all
        ("GET", 403, "AccessDenied", "no file can be read there: HTTP 403 AccessDenied"),
        ("GET list-type", 403, "AccessDenied", "no file can be listed there: HTTP 403 AccessDenied"),
        ("GET list-type", 200, "", "no file can be listed there: the list lacks one that was just written"),
        ("DELETE", 403, "AccessDenied", "no file can be deleted there: HTTP 403 AccessDenied"),
    ],
)
async def test_the_check_of_a_bucket_reports_what_can_not_be_done(
    s3: S3Server, store: ObstoreArtifacts, kind: str, status: int, code: str, said: str
) -> None:
    s3.always(kind, status, code)
    with pytest.raises(ArtifactError) as caught:
        await store.check()
    assert str(caught.value) == said


async def test_the_check_of_a_bucket_leaves_nothing(s3: S3Server, bucket: Bucket, store: ObstoreArtifacts) -> None:
    await store.check()
    s3.always("GET", 403, "AccessDenied")
    with pytest.raises(ArtifactError):
        await store.check()
    s3.heal()
    assert s3.keys(bucket) == []
    written = [call.path for call in s3.calls if call.method == "PUT"]
    assert len(set(written)) == 2  # its own name each, so that processes don't delete each other's
