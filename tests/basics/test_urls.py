"""The parts of a URL are the same on every version of Python, and no text makes the split fail."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.urls import UrlParts, split_url

# Python 3.11.7 and 3.13.5 read some of these differently, and refuse others both.
MALFORMED_SERVERS = (
    *("[::1]8080", "[::1]x", "[::1].com", "[::1", "::1]", "::1", "[]", "[x]", "a[b]", "[[::1]]", "[127.0.0.1]"),
    *(
        "[v1.x]",
        "[::ffff:1.2.3.4]x",
        "[::1]:x",
        "[::1]:99999",
        "a:x",
        "a:-1",
        "a:65536",
        "a:1:2",
        "a:8_0",
        "a:\u0668\u0660",
    ),
    *("a:" + "9" * 5_000, "\u2100.com", "a\uff03b", "", ":80", ":"),
)
TEXT = st.text(alphabet=st.sampled_from("aZ0:/?#@[].%-\\ \n\t\x00\u00e9\u2100\u3002\ud800"), max_size=24)


@pytest.mark.parametrize("server", MALFORMED_SERVERS, ids=lambda server: ascii(server)[:40])
@pytest.mark.parametrize("userinfo", [None, "", "u:p", "[::1]"])
def test_a_malformed_server_has_no_host(server: str, userinfo: str | None) -> None:
    at = "" if userinfo is None else f"{userinfo}@"
    expected = UrlParts("http", userinfo, None, None, "/p/x.png", "q=1", "f")
    assert split_url(f"http://{at}{server}/p/x.png?q=1#f") == expected


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("EXAMPLE.com", "example.com", None),
        ("example.com:", "example.com", None),
        ("example.com:0", "example.com", 0),
        ("example.com:000443", "example.com", 443),
        ("example.com:" + "0" * 5_000 + "80", "example.com", 80),
        ("[2001:DB8::1]:65535", "2001:db8::1", 65_535),
        ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4", None),
        ("b\u00fccher.example", "b\u00fccher.example", None),
        ("127\u30020\u30020\u30021", "127\u30020\u30020\u30021", None),
    ],
)
def test_a_server_is_a_host_and_a_port(server: str, host: str, port: int | None) -> None:
    assert split_url(f"HTTPS://{server}") == UrlParts("https", None, host, port, "", "", "")


@pytest.mark.parametrize("text", ["", "/", "media/x.png", "?", "#", "1:2", "http\u017f://a", "\u2100"])
def test_a_text_without_a_server_is_a_path(text: str) -> None:
    parts = split_url(text)
    assert (parts.scheme, parts.userinfo, parts.host, parts.port) == ("", None, None, None)


@given(TEXT)
def test_any_text_is_split_without_an_error_or_a_loss(text: str) -> None:
    parts = split_url(text)
    assert text.endswith(parts.fragment)
    assert parts.path in text


@given(
    st.sampled_from(("http", "https", "s3", "")),
    st.sampled_from(("", "u@", "u:p@", "@")),
    st.sampled_from(("a.example", "A.EXAMPLE", "[::1]", "[2001:DB8::5]", "127.0.0.1", "b\u00fccher.example")),
    st.sampled_from(("", ":", ":0", ":80", ":065535")),
    st.text(alphabet="aB0/.%-:@[]", max_size=12).map(lambda path: f"/{path}"),
    st.text(alphabet="aB0/.%-:@[]?=&", max_size=12),
    st.text(alphabet="aB0/?#%", max_size=12),
)
def test_a_well_formed_url_has_the_parts_that_the_standard_library_finds(
    scheme: str, userinfo: str, host: str, port: str, path: str, query: str, fragment: str
) -> None:
    url = f"{scheme}:" * bool(scheme) + f"//{userinfo}{host}{port}{path}?{query}#{fragment}"
    expected = urlsplit(url)
    parts = split_url(url)
    assert (parts.scheme, parts.host, parts.port) == (expected.scheme, expected.hostname, expected.port)
    assert (parts.path, parts.query, parts.fragment) == (expected.path, expected.query, expected.fragment)
    assert parts.userinfo == (userinfo[:-1] if userinfo else None)
