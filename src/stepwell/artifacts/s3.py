"""A bucket of a service with the protocol of S3: Amazon's own, MinIO, R2, Ceph ...

https://docs.aws.amazon.com/AmazonS3/latest/API/ and https://developmentseed.org/obstore/latest/api/store/aws/
"""

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from obstore.store import S3Store

from stepwell.basics.artifacts import media_type_of
from stepwell.basics.urls import split_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential
import hashlib
import hmac
from urllib.parse import parse_qsl, quote, urlencode

PART = 8 * 1024 * 1024  # bytes; a larger file is uploaded in parts of this size
PARTS_AT_ONCE = 4
# A request may stall for `read_timeout`, and take an hour in all, because the reader of a file may be slow.
_CLIENT: "ClientConfig" = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "1h"}
_RETRIES: "RetryConfig" = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
}
# With one of these variables, the environment decides the endpoint and the style of its URLs.
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
_SIGNED_HEADERS = "content-length;host"


class Bucket(Struct, frozen=True, kw_only=True):
    """A bucket, and how to access it. Files are stored below *prefix*.

    Without *endpoint* it is a bucket of Amazon's, in the region. Without a key the machine's own is used: that of the
    environment (AWS_ACCESS_KEY_ID ...), of a web identity, of the container, or of the instance.
    """

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None

    def __repr__(self) -> str:
        return f"Bucket({self.description!r})"

    @property
    def description(self) -> str:
        """The name, and the endpoint unless it is Amazon's."""
        return self.name if self.endpoint is None else f"{self.name} at {self.endpoint}"

    @property
    def url(self) -> str:
        """The s3:// URL of the prefix, without a slash at its end."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def store(self) -> S3Store:
        """Return the store. It sends no request, so the state of the bucket can't cause an error here."""
        config: S3Config = {
            "skip_signature": False,
            # Not every service supports bulk deletion, and a task has few files.
            "disable_bulk_delete": True,
        }
        if self.region is not None:
            config["region"] = self.region
        if self.endpoint is not None:
            # Both, because AWS_ENDPOINT_URL_S3 in the environment would override `endpoint` alone.
            config["endpoint"] = config["aws_endpoint_url_s3"] = self.endpoint
        if self.endpoint is not None or not any(name in os.environ for name in _ENDPOINTS):
            config["virtual_hosted_style_request"] = self._bucket_in_host
        plain = self.endpoint is not None and self.endpoint.lower().startswith("http://")
        return S3Store(
            self.name,
            prefix=self.prefix or None,
            config=config,
            client_options=_CLIENT | {"allow_http": True} if plain else _CLIENT,
            retry_config=_RETRIES,
            credential_provider=None if self.access_key_id is None else self._credential,
        )

    @property
    def _bucket_in_host(self) -> bool:
        """True if URLs have the bucket in their host name, as Amazon's do. Otherwise it is in their path.

        Wildcard certificates cover one level of names, so a bucket whose name contains a dot is in the path.
        """
        if self.endpoint is None:
            return "." not in self.name
        return (split_url(self.endpoint).host or "").startswith(f"{self.name}.")

    def _credential(self) -> "S3Credential":
        """Return the credential, with an explicit None as token: AWS_SESSION_TOKEN belongs to another key."""
        return {
            "access_key_id": self.access_key_id or "",
            "secret_access_key": self.secret_access_key or "",
            "token": None,
            "expires_at": None,
        }


def media_type(name: str) -> str:
    """Return the media type for signed URLs. The name determines it, and it is never one that may contain scripts."""
    return media_type_of(name) or "application/octet-stream"


def presigned_put(get_url: str, size: int, secret_access_key: str) -> str:
    """Return a URL of a bucket to which anyone can PUT one file of *size* bytes.

    obstore signs no headers. So this signs again what obstore has signed, with the header Content-Length. S3 refuses a
    request with another size. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html

    *get_url* is a signed URL to GET the same file, by the key of *secret_access_key*. It has the address of the
    bucket, the time, and how long the URL is valid.
    """
    parameters = dict(parse_qsl(split_url(get_url).query))
    del parameters["X-Amz-Signature"]
    parameters["X-Amz-SignedHeaders"] = _SIGNED_HEADERS
    query = urlencode(sorted(parameters.items()), quote_via=quote, safe="-_.~")
    address = get_url.partition("?")[0]
    host, slash, path = address.partition("://")[2].partition("/")
    headers = f"content-length:{size}\nhost:{host}\n"
    request = "\n".join(["PUT", slash + path, query, headers, _SIGNED_HEADERS, "UNSIGNED-PAYLOAD"])
    scope = parameters["X-Amz-Credential"].partition("/")[2]
    text = "\n".join(
        ["AWS4-HMAC-SHA256", parameters["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()]
    )
    key = f"AWS4{secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.digest(key, text.encode(), hashlib.sha256).hex()
    return f"{address}?{query}&X-Amz-Signature={signature}"
