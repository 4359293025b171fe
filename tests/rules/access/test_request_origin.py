"""Whose page makes a request, by the headers of the browser."""

import pytest

from stepwell.rules.access.request_origin import RequestOrigin, request_origin

OWN = {"http://localhost:9000", "https://stepwell.example.com"}


@pytest.mark.parametrize(
    ("fetch_site", "origin", "expected"),
    [
        ("same-origin", None, RequestOrigin.SAME),
        ("same-origin", "http://localhost:9000", RequestOrigin.SAME),
        ("same-origin", "null", RequestOrigin.SAME),
        ("same-site", "http://localhost:9000", RequestOrigin.OTHER),
        ("cross-site", "http://localhost:9000", RequestOrigin.OTHER),
        ("none", None, RequestOrigin.OTHER),
        ("", "http://localhost:9000", RequestOrigin.OTHER),
        ("Same-Origin", None, RequestOrigin.OTHER),
        ("same-origin, same-origin", None, RequestOrigin.OTHER),
        (None, "http://localhost:9000", RequestOrigin.SAME),
        (None, "https://stepwell.example.com", RequestOrigin.SAME),
        (None, "http://stepwell.example.com", RequestOrigin.OTHER),
        (None, "http://localhost:9001", RequestOrigin.OTHER),
        (None, "http://localhost", RequestOrigin.OTHER),
        (None, "null", RequestOrigin.OTHER),
        (None, "", RequestOrigin.OTHER),
        (None, None, RequestOrigin.UNKNOWN),
    ],
)
def test_a_request_is_of_the_own_page_only_if_the_browser_says_so(
    fetch_site: str | None, origin: str | None, expected: RequestOrigin
) -> None:
    assert request_origin(fetch_site, origin, OWN) is expected
