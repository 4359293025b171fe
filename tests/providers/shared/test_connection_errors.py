"""Messages about failed connections to providers: host and port, cause, and setting."""

import errno
import socket
import ssl
from collections.abc import Callable

import httpcore
import httpx
import pytest

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.definition.provider_descriptors import ProviderDescriptor
from stepwell.providers.comfyui.descriptor import COMFYUI
from stepwell.providers.fal.descriptor import FAL
from stepwell.providers.installed_providers import BUILT_IN
from stepwell.providers.openai.descriptor import OPENAI
from stepwell.providers.shared.connection_errors import connection_message
from stepwell.providers.shared.provider_api import ProviderApi


def caused_by(cause: Exception) -> httpx.ConnectError:
    """As httpx raises it: with httpcore's error in between, and anyio's around several attempts."""
    error, middle, tried = (
        httpx.ConnectError("x"),
        httpcore.ConnectError("x"),
        OSError("All connection attempts failed"),
    )
    tried.__cause__ = ExceptionGroup("multiple connection attempts failed", [cause])
    error.__cause__, middle.__cause__ = middle, tried
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "canary"), "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "canary"), "the connection was reset"),
        (socket.gaierror(socket.EAI_NONAME, "canary"), "DNS doesn't know the name"),
        (socket.gaierror(socket.EAI_AGAIN, "canary"), "the name can't be resolved: DNS doesn't answer"),
        (untrusted(), "the certificate isn't trusted: self-signed certificate"),
        (ssl.SSLError(1, "canary"), "TLS failed (no reason given)"),
        (OSError(errno.ENETUNREACH, "canary"), "there is no route to the host"),
        (OSError(errno.EHOSTUNREACH, "canary"), "there is no route to the host"),
        (TimeoutError("canary"), "the connection timed out"),
        (OSError(errno.EMFILE, "canary"), "the connection failed"),
    ],
)
def test_the_message_names_the_cause(cause: Exception, words: str) -> None:
    message = connection_message(caused_by(cause), "https://gpu.example:8443/v1?key=canary", "STEPWELL_CUSTOM_URL")
    assert message == f"no connection to gpu.example:8443: {words}; the address is from STEPWELL_CUSTOM_URL"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://gpu.example/x", "gpu.example:80"),
        ("https://gpu.example/x", "gpu.example:443"),
        ("http://[fd00::1]:8188/x", "[fd00::1]:8188"),
        ("http://bücher.example/x", "xn--bcher-kva.example:80"),
        ("http://xn--0.example/x", "xn--0.example:80"),  # which IDNA can't decode
        ("http://canary:canary@gpu.example:1/canary?canary#canary", "gpu.example:1"),
    ],
)
def test_the_message_has_only_host_and_port_of_the_url(url: str, where: str) -> None:
    message = connection_message(httpx.ConnectTimeout("canary"), url, None)
    assert message == f"no connection to {where}: the connection timed out"


@pytest.mark.parametrize(
    "host",
    [
        "queue.fal.run",
        "api.fal.ai",
        "api.replicate.com",
        "api.openai.com",
        "generativelanguage.googleapis.com",
        "us-central1-aiplatform.googleapis.com",
    ],
)
def test_for_a_public_address_the_message_suggests_blocked_traffic(host: str) -> None:
    hosts = [public for each in BUILT_IN for public in each.public_hosts]
    message = connection_message(caused_by(TimeoutError()), f"https://{host}/x", "STEPWELL_FAL_URL", hosts)
    assert message == (
        f"no connection to {host}:443: the connection timed out; this is the provider's public address "
        "(STEPWELL_FAL_URL overrides it): outgoing traffic may be blocked here"
    )
    assert "public" not in str(connection_message(httpx.ConnectError(""), f"https://{host}.example/x", None, hosts))


@pytest.mark.parametrize("error", [httpx.ReadError("x"), httpx.ReadTimeout("x"), httpx.InvalidURL("x"), TimeoutError()])
def test_other_errors_have_no_message_about_a_connection(error: Exception) -> None:
    assert connection_message(error, "http://gpu.example", None) is None


@pytest.mark.parametrize(
    ("provider", "setting"),
    [(FAL, "STEPWELL_FAL_URL"), (COMFYUI, "STEPWELL_COMFYUI_URL"), (OPENAI, "STEPWELL_OPENAI_URL")],
)
async def test_every_call_names_the_setting_of_its_provider(
    provider: ProviderDescriptor, setting: str, unused_port: int
) -> None:
    where = f"no connection to 127.0.0.1:{unused_port}: connection refused; the address is from {setting}"
    async with httpx.AsyncClient(trust_env=False) as client:
        api = ProviderApi(client, "Somebody", lambda _: None, provider=provider)
        calls: tuple[tuple[type[Exception], Callable[[], object], str], ...] = (
            (
                AttemptError,
                lambda: api.submit(f"http://127.0.0.1:{unused_port}/x", b"{}", {}, dict),
                "the submit was not sent: ",
            ),
            (CallFailed, lambda: api.call("GET", f"http://127.0.0.1:{unused_port}/x", {}, ok=frozenset()), ""),
        )
        for kind, call, start in calls:
            with pytest.raises(kind) as failure:
                await call()  # type: ignore[misc]
            assert str(failure.value) == f"Somebody: {start}{where}"
