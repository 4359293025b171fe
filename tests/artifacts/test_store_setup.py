"""Settings of the store: which are refused in a clear line each, and what a start says of a bucket that isn't right."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict
from structlog.testing import capture_logs

from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.artifacts.store_setup import StorageRefused, bucket_of, open_storage
from stepwell.cli.errors import Refused
from stepwell.cli.keys import keys_of_folder
from stepwell.cli.service_host import open_service
from stepwell.settings import InvalidSettings, Settings
from support.emulators.s3 import KEY_ID, SECRET_KEY, S3Server
from support.service.installed_settings import read_settings

CANARY = "CANARY"
PATH = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/result.png"
A_BUCKET = "STEPWELL_S3_BUCKET: Expected a bucket's name: 3 to 63 characters of a-z, 0-9, dot and hyphen"
A_PREFIX = "STEPWELL_S3_PREFIX: Expected names with / between them, of letters, digits, . _ and -"


def lines(**changes: str) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        read_settings({f"STEPWELL_{name}": value for name, value in changes.items()})
    assert CANARY not in str(caught.value)
    return caught.value.lines


@pytest.mark.parametrize(
    "name",
    ["ab", "a" * 64, "Pictures", "my_pictures", "-pictures", "pictures-", "pictures/x", "s3://pictures", "ümlaut"],
)
def test_a_malformed_bucket_name_is_refused(name: str) -> None:
    assert lines(S3_BUCKET=name) == [A_BUCKET]


@pytest.mark.parametrize("prefix", ["/", "a/", "/a", "a//b", "a/../b", "..", ".a", "a b", "a\\b", "ä", "a\n"])
def test_a_malformed_prefix_is_refused(prefix: str) -> None:
    assert lines(S3_BUCKET="pictures", S3_PREFIX=prefix) == [A_PREFIX]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("S3_ENDPOINT", f"{CANARY}:9000", "Expected an http or https URL"),
        ("S3_ENDPOINT", f"https://{CANARY}:x@minio", "Expected an http or https URL"),
        ("S3_ENDPOINT", f"https://minio?{CANARY}", "Expected an http or https URL"),
        ("S3_REGION", f"{CANARY} 1", "Expected a region, like eu-central-1"),
        ("S3_LINKS", CANARY, "Expected a boolean, got a string"),
        (
            "ARTIFACT_DIR",
            f"/{CANARY}",
            "Expected none beside STEPWELL_S3_BUCKET",
        ),
    ],
)
def test_a_setting_that_does_not_fit_a_bucket_is_refused(name: str, value: str, said: str) -> None:
    assert lines(S3_BUCKET="pictures", **{name: value}) == [f"STEPWELL_{name}: {said}"]


def test_a_key_id_without_its_secret_is_refused() -> None:
    assert lines(S3_BUCKET="pictures", S3_ACCESS_KEY_ID=CANARY) == [
        "STEPWELL_S3_SECRET_ACCESS_KEY: Expected one, to go with STEPWELL_S3_ACCESS_KEY_ID"
    ]
    assert lines(S3_BUCKET="pictures", S3_SECRET_ACCESS_KEY=CANARY) == [
        "STEPWELL_S3_ACCESS_KEY_ID: Expected one, to go with STEPWELL_S3_SECRET_ACCESS_KEY"
    ]


def test_a_key_with_a_line_break_is_refused() -> None:
    assert lines(S3_BUCKET="pictures", S3_ACCESS_KEY_ID=f"{CANARY}\n", S3_SECRET_ACCESS_KEY=f"{CANARY} x") == [
        "STEPWELL_S3_ACCESS_KEY_ID: Expected a key id, without spaces",
        "STEPWELL_S3_SECRET_ACCESS_KEY: Expected a key, without spaces",
    ]


def test_settings_of_a_bucket_need_the_bucket_itself() -> None:
    values = {"PREFIX": "a", "ENDPOINT": "http://minio", "REGION": "x", "ACCESS_KEY_ID": CANARY}
    assert sorted(lines(**{f"S3_{name}": value for name, value in values.items()})) == sorted(
        f"STEPWELL_S3_{name}: Expected STEPWELL_S3_BUCKET beside it" for name in values
    )


def test_well_formed_settings_of_a_bucket_are_accepted() -> None:
    settings = read_settings(
        {
            "STEPWELL_S3_BUCKET": "my.pictures-1",
            "STEPWELL_S3_PREFIX": "team_1/step.well",
            "STEPWELL_S3_ENDPOINT": "http://minio:9000",
            "STEPWELL_S3_ACCESS_KEY_ID": CANARY,
            "STEPWELL_S3_SECRET_ACCESS_KEY": f"{CANARY}/+=",
            "STEPWELL_S3_LINKS": "false",
        }
    )
    bucket = bucket_of(settings)
    assert bucket is not None
    assert asdict(bucket) == {
        "name": "my.pictures-1",
        "prefix": "team_1/step.well",
        "endpoint": "http://minio:9000",
        "region": None,
        "access_key_id": CANARY,
        "secret_access_key": f"{CANARY}/+=",
    }
    assert bucket.url == "s3://my.pictures-1/team_1/step.well"
    assert CANARY not in repr(settings) + repr(bucket)


def settings_of(s3: S3Server, folder: Path, **changes: Any) -> Settings:
    bucket = s3.bucket()
    values = {
        "s3_bucket": bucket.name,
        "s3_endpoint": s3.url,
        "s3_access_key_id": KEY_ID,
        "s3_secret_access_key": SECRET_KEY,
    }
    return Settings(data_dir=folder, **{**values, **changes})


async def test_without_a_bucket_files_are_in_a_folder(tmp_path: Path) -> None:
    storage = await open_storage(Settings(data_dir=tmp_path))
    assert (storage.sign_url, storage.shared) == (None, False)
    await storage.artifacts.put(PATH, b"x")
    assert (tmp_path / "artifacts" / PATH).read_bytes() == b"x"


# Prints what becomes of a file: while no other can be opened, and then.
_OUT_OF_FILES = """
import anyio, asyncio, os, resource, sys
from pathlib import Path
from stepwell.artifacts.store_setup import StorageRefused, open_storage
from stepwell.cli import end_process
from stepwell.basics.errors import ArtifactError
from stepwell.settings import Settings

settings = Settings(data_dir=Path(sys.argv[2]))

def take_all_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    while True:
        try:
            yield os.open(os.devnull, os.O_RDONLY)
        except OSError:
            return

async def opened_then_out():
    storage = await open_storage(settings)
    assert not list(settings.artifacts.iterdir())
    await anyio.to_thread.run_sync(int)  # it loads its modules at first use
    taken = list(take_all_files())
    try:
        await storage.artifacts.put(sys.argv[3], b"x")
    except ArtifactError as error:
        print(error)
    for each in taken:
        os.close(each)
    await storage.artifacts.put(sys.argv[3], b"x")
    print(await storage.artifacts.get(sys.argv[3]))

async def out_then_opened():
    taken = list(take_all_files())
    try:
        await open_storage(settings)
    except StorageRefused as refused:
        print(refused)

asyncio.run(globals()[sys.argv[1]]())
end_process(0)
"""


def _out_of_files(when: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", _OUT_OF_FILES, when, str(folder), PATH]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout.splitlines()


def test_a_service_that_is_out_of_files_stores_again_once_there_are_some(tmp_path: Path) -> None:
    assert _out_of_files("opened_then_out", tmp_path) == [
        f"'{PATH}' could not be written: Too many open files",
        "b'x'",
    ]


def test_a_start_without_files_is_refused_in_one_line(tmp_path: Path) -> None:
    assert _out_of_files("out_then_opened", tmp_path) == [
        f"cannot use the artifact folder {tmp_path}/artifacts: no file can be written there: Too many open files"
    ]


async def test_a_bucket_in_the_settings_stores_files_and_signs_urls(s3: S3Server, tmp_path: Path) -> None:
    with capture_logs() as logs:
        storage = await open_storage(settings_of(s3, tmp_path, signed_url_ttl_s=77))
    await storage.artifacts.put(PATH, b"x")
    assert storage.sign_url is not None
    assert "X-Amz-Expires=77&" in await storage.sign_url(PATH)
    assert (storage.shared, logs) == (True, [])


async def test_a_bucket_that_others_can_not_reach_signs_no_urls(s3: S3Server, tmp_path: Path) -> None:
    assert (await open_storage(settings_of(s3, tmp_path, s3_links=False))).sign_url is None


async def test_files_that_a_switch_to_a_bucket_leaves_behind_are_logged(s3: S3Server, tmp_path: Path) -> None:
    await ObstoreArtifacts.local(tmp_path / "artifacts").put(PATH, b"x")
    with capture_logs() as logs:
        await open_storage(settings_of(s3, tmp_path))
    assert [(log["event"], log["folder"]) for log in logs] == [("artifacts.left_behind", str(tmp_path / "artifacts"))]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"s3_bucket": "pictures-of-nobody"}, "no file can be written there: HTTP 404 NoSuchBucket"),
        ({"s3_endpoint": "http://127.0.0.1:1"}, "no file can be written there: no connection"),
    ],
)
async def test_a_start_on_a_wrong_bucket_is_refused_in_one_line(
    s3: S3Server, tmp_path: Path, dsn: str, changes: dict[str, Any], said: str
) -> None:
    keys = keys_of_folder(settings_of(s3, tmp_path, **changes))
    with pytest.raises(Refused) as refused:
        async with open_service(keys, dsn, exclusive=True):
            pass
    place = f"{keys.settings.s3_bucket} at {keys.settings.s3_endpoint}"
    assert refused.value.lines == (f"cannot use the bucket {place}: {said}",)
    assert refused.value.code == 1


async def test_a_start_with_a_wrong_key_does_not_show_it(s3: S3Server, tmp_path: Path) -> None:
    settings = settings_of(s3, tmp_path)
    s3.always("PUT", 403, "InvalidAccessKeyId")
    with pytest.raises(StorageRefused) as refused:
        await open_storage(settings)
    assert str(refused.value).endswith(": no file can be written there: HTTP 403 InvalidAccessKeyId")
    assert KEY_ID not in str(refused.value)
