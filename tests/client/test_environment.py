"""A client without a URL or a token takes them from the environment, and sends that token to that service only."""

import httpx
import pytest

from stepwell.client import AsyncStepwell, Stepwell


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("STEPWELL_URL", "STEPWELL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def request_of(*arguments: str, token: str | None = None) -> tuple[str, str | None]:
    """Return the address and the token of a client's request."""
    requests = list[httpx.Request]()

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200)

    with Stepwell(*arguments, token=token, transport=httpx.MockTransport(respond)) as client:
        assert client.live()
    (request,) = requests
    return str(request.url.copy_with(path="/")), request.headers.get("Authorization")


def test_url_and_token_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("STEPWELL_URL", "http://named.local:9000/")
    environment.setenv("STEPWELL_TOKEN", "stored")
    assert request_of() == ("http://named.local:9000/", "Bearer stored")
    assert request_of(token="own") == ("http://named.local:9000/", "Bearer own")
    assert request_of(token="") == ("http://named.local:9000/", None)


def test_the_token_of_the_environment_goes_to_no_other_service(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("STEPWELL_TOKEN", "stored")
    assert request_of("http://a.local") == ("http://a.local/", "Bearer stored")
    environment.setenv("STEPWELL_URL", "http://a.local/")
    assert request_of("HTTP://A.local:80")[1] == "Bearer stored"
    assert request_of("http://b.local") == ("http://b.local/", None)
    environment.setenv("STEPWELL_URL", "nowhere")
    assert request_of("http://a.local") == ("http://a.local/", None)


@pytest.mark.parametrize("url", [None, ""])
def test_a_client_without_a_url_is_an_error_that_says_where_to_put_it(
    url: str | None, environment: pytest.MonkeyPatch
) -> None:
    if url is not None:
        environment.setenv("STEPWELL_URL", url)
    for client in (Stepwell, AsyncStepwell):
        with pytest.raises(ValueError, match=r"^there is no URL of a service: pass it as url, or set STEPWELL_URL$"):
            client()
