"""Which URLs of inputs are refused at create: those that Stepwell, or the provider in its own network, can't read."""

from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from stepwell.contract.enums import ProviderType as P
from stepwell.contract.enums import TaskType as T
from stepwell.definition.validation.provider_rules import FileRule
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.providers.factory import build_providers
from stepwell.providers.local.provider import LocalProvider
from stepwell.providers.registry import Registry
from support.emulators.google import service_account
from support.service.installed_settings import read_settings

PRIVATE = [
    "http://127.0.0.1/x.png",
    "http://127.0.0.1:9000/x.png",
    "https://10.0.0.5/x.png",
    "https://192.168.1.1/x.png",
    "https://172.16.0.1/x.png",
    "http://169.254.169.254/latest/meta-data",
    "http://100.100.100.200/",
    "http://0.0.0.0/",
    "http://0/",
    "http://127.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://127.0.0.1./",
    "HTTP://127.0.0.1/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127。0。0。1/",
    "http://[::1]/",
    "http://[::1]:8080/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a00:5]/",
    "http://[fd00::1]/",
    "http://[fe80::1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://localhost/x.png",
    "http://LOCALHOST:8000/x.png",
    "http://localhost./x.png",
    "http://a.localhost/",
    "http://minio/x.png",
    "http://printer.local/",
    "http://metadata.google.internal/",
]
PUBLIC = [
    "https://pictures.example.com/a.png",
    "http://pictures.example.com/a.png?x=1#y",
    "https://8.8.8.8/x",
    "https://[2606:4700::1111]/",
]
ENVIRONMENT = {
    "STEPWELL_CREDENTIALS__FAL": "a key",
    "STEPWELL_CREDENTIALS__REPLICATE": "a key",
    "STEPWELL_CREDENTIALS__OPENAI": "a key",
    "STEPWELL_CREDENTIALS__GEMINI": "a key",
    "STEPWELL_CREDENTIALS__VERTEX": service_account("http://stepwell.example"),
    "STEPWELL_COMFYUI_URL": "http://comfyui.example",
    "STEPWELL_CUSTOM_URL": "http://worker.example",
}
GRAPH = {
    "graph": {"1": {"class_type": "LoadImage", "inputs": {"image": "x"}}, "2": {"class_type": "SaveImage"}},
    "inputs": {"base_image_url": "1.image"},
}
READ_BY_STEPWELL = [P.LOCAL, P.OPENAI, P.GEMINI, P.VERTEX, P.COMFYUI]
READ_BY_PROVIDER = [P.FAL, P.REPLICATE]


def rule_of(kind: P, *allowed: str, https_only: bool = False, **more: str) -> FileRule:
    providers = build_providers(read_settings(ENVIRONMENT | more), httpx.AsyncClient())
    policy = AddressPolicy([ip_network(each) for each in allowed])
    return Registry(providers).file_rules(policy, https_only=https_only)[kind]


def refusal(rule: FileRule, reference: str, task_type: T = T.REFINE, name: str = "base_image_url") -> str | None:
    judge = rule(task_type, name, GRAPH)
    found = None if judge is None else judge(reference)
    return None if found is None else found[1]


@pytest.mark.parametrize("kind", [*READ_BY_STEPWELL, *READ_BY_PROVIDER])
def test_a_private_address_is_refused_in_every_notation(kind: P) -> None:
    rule = rule_of(kind)
    passed = [url for url in PRIVATE if refusal(rule, url) != "url_invalid"]
    assert passed == []
    assert [url for url in PUBLIC if refusal(rule, url) is not None] == []


@pytest.mark.parametrize("kind", READ_BY_PROVIDER)
@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@127.0.0.1/",
        "http://@2130706433/",
        "http://user@0177.0.0.1/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.\n0.1/",
        "http://①②⑦.0.0.1/",
    ],
)
def test_a_private_address_is_refused_however_it_is_hidden(kind: P, url: str) -> None:
    assert refusal(rule_of(kind), url) == "url_invalid"


@pytest.mark.parametrize("kind", READ_BY_PROVIDER)
@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@pictures.example.com/x",
        f"https://pictures.example.com/{'x' * 9_000}",
        "http://[/",
        "http://",
    ],
)
def test_of_a_url_that_the_provider_reads_only_the_host_is_checked(kind: P, url: str) -> None:
    assert refusal(rule_of(kind, https_only=True), url) is None


@pytest.mark.parametrize("kind", READ_BY_STEPWELL)
@pytest.mark.parametrize(
    "url", ["https://user:secret@pictures.example.com/x", "http://[/", "http://", "http://[::1]8080/"]
)
def test_a_url_that_stepwell_would_not_read_is_refused(kind: P, url: str) -> None:
    assert refusal(rule_of(kind), url) == "url_invalid"


@pytest.mark.parametrize("kind", READ_BY_STEPWELL)
def test_https_only_applies_to_urls_that_stepwell_reads(kind: P) -> None:
    url = "http://pictures.example.com/a.png"
    assert refusal(rule_of(kind, https_only=True), url) == "url_invalid"
    assert refusal(rule_of(kind, "10.0.0.0/8", https_only=True), "http://10.0.0.5/a.png") is None


@pytest.mark.parametrize("kind", [*READ_BY_STEPWELL, *READ_BY_PROVIDER])
def test_urls_in_allowed_networks_are_accepted(kind: P) -> None:
    rule = rule_of(kind, "10.0.0.0/8")
    assert refusal(rule, "http://10.0.0.5/x.png") is None
    assert refusal(rule, "http://0xa000005/x.png") is None
    assert refusal(rule, "http://minio/x.png") is None
    assert refusal(rule, "http://127.0.0.1/x.png") == "url_invalid"


@pytest.mark.parametrize("kind", [*READ_BY_STEPWELL, *READ_BY_PROVIDER, P.CUSTOM])
def test_no_provider_reads_local_files(kind: P) -> None:
    rule = rule_of(kind)
    for reference in ("./photo.jpg", "file:///etc/passwd", "C:\\x.jpg", "s3://bucket/x", "media/x/y.png"):
        assert refusal(rule, reference) == "file_invalid"


def test_a_worker_of_the_operator_may_read_private_addresses() -> None:
    assert [url for url in PRIVATE if refusal(rule_of(P.CUSTOM), url) is not None] == []


def test_openai_itself_reads_the_addresses_of_a_chat() -> None:
    url, talk = "https://user:secret@pictures.example.com/x", (T.LLM_INTERACTION, "image_urls")
    assert refusal(rule_of(P.OPENAI), url, *talk) is None
    assert refusal(rule_of(P.OPENAI), "http://127.0.0.1/", T.LLM_INTERACTION, "messages") == "url_invalid"
    assert refusal(rule_of(P.OPENAI, STEPWELL_OPENAI_URL="http://vllm.example/v1"), url, *talk) == "url_invalid"


@pytest.mark.parametrize("config", [{}, GRAPH | {"inputs": {"base_image_url": None}}, GRAPH | {"inputs": 5}])
def test_an_input_that_the_graph_does_not_use_is_not_checked(config: dict[str, Any]) -> None:
    assert rule_of(P.COMFYUI)(T.REFINE, "base_image_url", config) is None


@pytest.mark.parametrize("kind", [P.FAL, P.REPLICATE, P.CUSTOM])
def test_messages_that_are_passed_on_are_not_checked(kind: P) -> None:
    assert refusal(rule_of(kind), "./photo.jpg", T.LLM_INTERACTION, "messages") is None


def test_files_of_a_provider_that_declares_no_reader_are_not_checked() -> None:
    class Other(LocalProvider):
        url_reader = None  # type: ignore[assignment]

    assert Registry([LocalProvider()]).file_rules(AddressPolicy(), https_only=False).keys() == {P.LOCAL}
    assert Registry([Other()]).file_rules(AddressPolicy(), https_only=False) == {}
