"""`stepwell health`: the health check of a container."""

from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from msgspec import Struct, json

from stepwell.basics.urls import split_url
from stepwell.cli.data_folder import read_address
from stepwell.cli.errors import Refused
from stepwell.cli.output import print_result
from stepwell.settings import Settings

_TIMEOUT_S = 2.0
_MAX_BODY = 65_536


class _Problem(Struct):
    detail: str


def health(settings: Settings) -> None:
    """Check the readiness of the service at the settings' address. Raises `Refused` unless it is ready."""
    host, port = _address(settings)
    address = f"{host} port {port}"
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        body = response.read(_MAX_BODY)
    except (OSError, HTTPException, UnicodeError) as error:  # the last if the host isn't a name
        raise Refused(f"the service on {address} doesn't respond: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise Refused(f"the service on {address} is not ready: it responds with {response.status}{_reason(body)}")
    print_result("ready")


def _reason(body: bytes) -> str:
    """Return the reason in a problem document, after a colon; "" for any other *body*."""
    try:
        return f": {json.decode(body, type=_Problem).detail}"
    except ValueError:  # UnicodeDecodeError too
        return ""


def _address(settings: Settings) -> tuple[str, int]:
    """Return host and port to connect to. If the system chose the port, `up` has written it into the data folder."""
    if settings.port:
        return _host_to_connect(settings.host), settings.port
    url = split_url(read_address(settings.data_dir) or "")
    if url.host is None or url.port is None:
        raise Refused(f"STEPWELL_PORT is 0, and no `stepwell up` runs on {settings.data_dir}")
    return url.host, url.port


def _host_to_connect(host: str) -> str:
    """Return the host to connect to: the loopback address if the service listens on every address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - IPv4
