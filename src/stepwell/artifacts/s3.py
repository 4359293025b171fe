"""A bucket that speaks S3's protocol: Amazon's own, MinIO, R2, Ceph ...

https://docs.aws.amazon.com/AmazonS3/latest/API/ and https://developmentseed.org/obstore/latest/api/store/aws/
"""

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from obstore.store import S3Store

from stepwell.domain.artifacts import media_type_of
from stepwell.domain.urls import split_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

PART = 8 * 1024 * 1024  # bytes; a larger file goes in parts of this size
PARTS_AT_ONCE = 4
# How long one request may stand still, both ways; a file may take an hour, whatever its reader's pace.
_CLIENT: "ClientConfig" = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "1h"}
_RETRIES: "RetryConfig" = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
}
# With one of these the machine has an endpoint of its own, whose style is its own affair too.
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


class Bucket(Struct, frozen=True, kw_only=True):
    """Where files go: below *prefix* in the bucket. Without *endpoint* it is Amazon's, in the region; without a key the
    machine's own is used: of the environment (AWS_ACCESS_KEY_ID ...), a web identity, the container or the instance.
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
        """Its name, and where that is not Amazon the endpoint."""
        return self.name if self.endpoint is None else f"{self.name} at {self.endpoint}"

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def store(self) -> S3Store:
        """Raises nothing that the bucket's state could cause: nothing is asked yet."""
        config: S3Config = {
            "skip_signature": False,
            # Not every service knows how to delete several at once; a task has few files.
            "disable_bulk_delete": True,
        }
        if self.region is not None:
            config["region"] = self.region
        if self.endpoint is not None:
            # Twice, as the environment's AWS_ENDPOINT_URL_S3 would go over the first alone.
            config["endpoint"] = config["aws_endpoint_url_s3"] = self.endpoint
        if self.endpoint is not None or not any(name in os.environ for name in _ENDPOINTS):
            config["virtual_hosted_style_request"] = self._named_by_host
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
    def _named_by_host(self) -> bool:
        """Whether the address has the bucket in its host's name, as Amazon's has, or else in its path. Certificates are
        for one level of names, so a name with a dot goes into the path.
        """
        if self.endpoint is None:
            return "." not in self.name
        return (split_url(self.endpoint).host or "").startswith(f"{self.name}.")

    def _credential(self) -> "S3Credential":
        """The whole of it: the environment's AWS_SESSION_TOKEN belongs to another key."""
        return {
            "access_key_id": self.access_key_id or "",
            "secret_access_key": self.secret_access_key or "",
            "token": None,
            "expires_at": None,
        }


def media_type(name: str) -> str:
    """What a browser gets told at a signed address: by the name alone, and nothing that could have scripts in it."""
    return media_type_of(name) or "application/octet-stream"
