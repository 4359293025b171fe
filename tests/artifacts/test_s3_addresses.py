"""Signed addresses at a bucket: what they look like, that they are fetched by anyone, and whose key they carry.

moto's server refuses what has no signature, and takes any; so the signature is computed again, as Amazon describes it.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import UUID

import httpx
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec.structs import replace

from stepwell.artifacts.s3 import Bucket, presigned_put
from stepwell.artifacts.store import ObstoreArtifacts
from support.emulators.s3 import KEY_ID, REGION, SECRET_KEY, S3Server

TASK = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")
PATH = f"media/{TASK}/result.png"
WEEK = 7 * 24 * 3_600
AMAZON = Bucket(name="pictures", region="eu-central-1", access_key_id=KEY_ID, secret_access_key=SECRET_KEY)


def signature(url: str, secret: str, method: str = "GET", headers: str = "host", signed_headers: str = "") -> str:
    """What https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html says it is."""
    parts = urlsplit(url)
    parameters = dict(parse_qsl(parts.query))
    signed = sorted((name, value) for name, value in parameters.items() if name != "X-Amz-Signature")
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in signed)
    lines = f"{signed_headers}host:{parts.netloc}\n"
    request = f"{method}\n{parts.path}\n{query}\n{lines}\n{headers}\nUNSIGNED-PAYLOAD"
    scope = parameters["X-Amz-Credential"].partition("/")[2]
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{parameters['X-Amz-Date']}\n{scope}\n{hashed}"
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), hashlib.sha256)
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize("ttl_s", [1, 3_600, WEEK])
async def test_anyone_can_fetch_a_signed_url(s3: S3Server, ttl_s: int) -> None:
    bucket = s3.bucket()
    store = ObstoreArtifacts.s3(bucket)
    await store.put(PATH, b"a picture")
    url = await store.signed_url(PATH, ttl_s)
    query = query_of(url)
    assert url.startswith(f"{s3.url}/{bucket.name}/some/where/{PATH}?")
    assert query["X-Amz-Expires"] == str(ttl_s)
    assert query["X-Amz-Credential"] == f"{KEY_ID}/{query['X-Amz-Date'][:8]}/{REGION}/s3/aws4_request"
    assert query["X-Amz-Signature"] == signature(url, SECRET_KEY)
    assert SECRET_KEY not in url
    async with httpx.AsyncClient() as web:
        response = await web.get(url)
        assert (response.status_code, response.content, response.headers["content-type"]) == (
            200,
            b"a picture",
            "image/png",
        )
        assert (await web.get(url.partition("?")[0])).status_code == 403


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.PNG", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.gif", "image/gif"),
        ("a.mp4", "video/mp4"),
        ("a.svg", "application/octet-stream"),  # what could have scripts in it is nothing to look at
        ("a.html", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
async def test_the_media_type_of_a_signed_url_depends_on_the_name(s3: S3Server, name: str, media_type: str) -> None:
    store = ObstoreArtifacts.s3(s3.bucket())
    path = f"media/{TASK}/{name}"
    await store.put(path, b"<html>")
    async with httpx.AsyncClient() as web:
        response = await web.get(await store.signed_url(path, 60))
    assert response.headers["content-type"].partition(";")[0] == media_type


@pytest.mark.parametrize(
    ("bucket", "begin"),
    [
        (AMAZON, "https://pictures.s3.eu-central-1.amazonaws.com/media/"),
        (replace(AMAZON, prefix="a/b"), "https://pictures.s3.eu-central-1.amazonaws.com/a/b/media/"),
        (replace(AMAZON, name="my.pictures"), "https://s3.eu-central-1.amazonaws.com/my.pictures/media/"),
        (replace(AMAZON, endpoint="https://minio:9000"), "https://minio:9000/pictures/media/"),
        (replace(AMAZON, endpoint="https://minio:9000/"), "https://minio:9000/pictures/media/"),
        (replace(AMAZON, endpoint="https://pictures.minio:9000"), "https://pictures.minio:9000/media/"),
        (replace(AMAZON, endpoint="http://gateway/s3"), "http://gateway/s3/pictures/media/"),
    ],
)
async def test_a_signed_url_begins_with_the_address_of_the_bucket(bucket: Bucket, begin: str) -> None:
    url = await ObstoreArtifacts.s3(bucket).signed_url(PATH, 60)
    assert url.startswith(begin)
    assert query_of(url)["X-Amz-Signature"] == signature(url, SECRET_KEY)


async def test_a_key_of_the_settings_is_not_mixed_with_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "THEMACHINES")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    ours = await ObstoreArtifacts.s3(replace(AMAZON, endpoint="https://minio:9000")).signed_url(PATH, 60)
    assert ours.startswith(f"https://minio:9000/pictures/{PATH}?")
    assert "X-Amz-Security-Token" not in query_of(ours)
    assert query_of(ours)["X-Amz-Signature"] == signature(ours, SECRET_KEY)


async def test_without_a_key_the_machine_s_own_key_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "THEMACHINES")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "its token")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://its.own:1")
    url = await ObstoreArtifacts.s3(Bucket(name="pictures")).signed_url(PATH, 60)
    query = query_of(url)
    assert url.startswith(f"https://its.own:1/pictures/{PATH}?")
    assert query["X-Amz-Credential"].split("/")[::2] == ["THEMACHINES", "eu-west-3", "aws4_request"]
    assert query["X-Amz-Security-Token"] == "its token"


async def test_a_url_to_put_to_is_signed_with_the_length(s3: S3Server) -> None:
    bucket = s3.bucket()
    store = ObstoreArtifacts.s3(bucket)
    url = presigned_put(await store.signed_url(PATH, 60), 9, SECRET_KEY)
    query = query_of(url)
    assert url.startswith(f"{s3.url}/{bucket.name}/some/where/{PATH}?")
    assert (query["X-Amz-SignedHeaders"], query["X-Amz-Expires"]) == ("content-length;host", "60")
    expected = signature(url, SECRET_KEY, "PUT", "content-length;host", "content-length:9\n")
    assert query["X-Amz-Signature"] == expected
    async with httpx.AsyncClient() as web:
        assert (await web.put(url, content=b"a picture")).status_code == 200
    assert await store.get(PATH) == b"a picture"


async def test_the_signature_with_the_length_is_that_of_amazons_own_library(s3: S3Server) -> None:
    url = presigned_put(await ObstoreArtifacts.s3(s3.bucket()).signed_url(PATH, 60), 9, SECRET_KEY)
    at = datetime.strptime(query_of(url)["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    request = AWSRequest("PUT", url.partition("?")[0], headers={"Content-Length": "9"})
    with patch("botocore.auth.get_current_datetime", lambda: at):
        S3SigV4QueryAuth(Credentials(KEY_ID, SECRET_KEY), "s3", REGION, expires=60).add_auth(request)
    assert query_of(url) == query_of(request.url)
