"""The patterns of the OpenAPI document accept what the service accepts. ECMAScript's `$` is Python's fullmatch."""

import re
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepwell.api.routes.all_routes import openapi_document
from stepwell.basics.setting_values import Networks
from stepwell.contract.enums import EventType
from stepwell.lifecycle.webhook_deliveries import url_fault
from stepwell.outbound.webhook_sender import webhook_rule
from stepwell.providers.installed_providers import installed_providers

in_module_loop = pytest.mark.asyncio(loop_scope="module")
DOCUMENT: dict[str, Any] = openapi_document([*installed_providers()])


def webhook_patterns() -> set[str]:
    schemas = DOCUMENT["components"]["schemas"]
    members = [schemas[name]["properties"]["webhook_url"] for name in ("CreateWorkflow", "WorkflowUpdate")]
    return {choice["pattern"] for member in members for choice in member["anyOf"] if choice["type"] == "string"}


(WEBHOOK,) = webhook_patterns()
(TYPE,) = [
    parameter["schema"]["pattern"]
    for parameter in DOCUMENT["paths"]["/api/v1/events"]["get"]["parameters"]
    if parameter["name"] == "type"
]
RULES = [
    url_fault,
    webhook_rule(Networks.read("0.0.0.0/0 ::/0"), https_only=False, configured=True),
    webhook_rule(Networks(), https_only=False, configured=True),
]
UNUSUAL = " \t\n\r\x00\x7f\x85\xa0\\/?#@:[]%.-_+&=;\"'<>|^`{}~ä\u2028\u2100\u3002\uff0f\U0001f600"
TEXT = st.one_of(st.text(alphabet=UNUSUAL, max_size=4), st.text(max_size=4))
NAMES = ["example.com", "EXAMPLE.com.", "bücher.de", "localhost", "a_b.c", ""]
HOSTS = st.sampled_from([*NAMES, "127.0.0.1", "0x7f.1", "[::1]", "[2001:db8::1]"])


@st.composite
def urls(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["http", "https", "HTTP", "hTTps"]))
    separator = draw(st.sampled_from(["://", "://", "://", ":", "//", ":///"]))
    host = draw(st.one_of(HOSTS, HOSTS, HOSTS, st.builds("{}{}{}".format, TEXT, HOSTS, TEXT)))
    port = draw(st.sampled_from(["", "", ":", ":1", ":080", ":65535", ":0", ":x"]))
    rest = draw(st.sampled_from(["", "/", "/hook", "?x=1", "#f", "/a?b#c", "?a@b", "/a b"])) + draw(TEXT)
    return f"{scheme}{separator}{host}{port}{rest}"


@given(urls())
@example("https://example.com/a b")
@example("HTTPS://EXAMPLE.com")
@example("https://example\u3002com/x")
@example("http://[::1]:8080?x@y")
def test_every_webhook_url_that_is_accepted_matches_the_pattern(url: str) -> None:
    if any(rule(url) is None for rule in RULES):
        assert re.fullmatch(WEBHOOK, url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "//example.com", "ftp://example.com", "javascript:alert(1)", "http://", "http:///x"),
        *("https://u@example.com", "https://u:p@example.com", "https://@example.com", "https:example.com", "./hook"),
        *(" https://example.com", "https://example.com\n", "https://exa mple.com", "https://example.com/\t"),
        *(
            "https://example.com\\@evil.com",
            "https://exa\u00a0mple.com",
            "file:///etc/passwd",
            "https://?x",
            "https://#",
        ),
    ],
)
def test_malformed_webhook_urls_do_not_match(url: str) -> None:
    assert re.fullmatch(WEBHOOK, url) is None
    assert all(rule(url) for rule in RULES)


@in_module_loop
@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        *((kind.value, True) for kind in EventType),
        (",".join(EventType), True),
        ("step.failed,step.failed", True),
        *(
            (text, False)
            for text in ("", ",", "step.failed,", ",step.failed", "step.failed, step.failed", "stepXfailed")
        ),
        *(
            (text, False)
            for text in ("STEP.FAILED", "step.failed;step.completed", "step", "step.faile", "step.failed ")
        ),
        ("step.failed\n", False),
    ],
)
async def test_the_type_of_events_is_accepted_exactly_if_it_matches_the_pattern(
    client: httpx.AsyncClient, text: str, *, accepted: bool
) -> None:
    assert bool(re.fullmatch(TYPE, text)) is accepted
    response = await client.get("/api/v1/events", params={"type": text})
    assert response.status_code == (200 if accepted else 422)
