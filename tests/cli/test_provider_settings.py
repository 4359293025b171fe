"""Settings about providers: what is refused in one clear line, where keys are found, and what shows none of them."""

import json
from pathlib import Path

import pytest

from stepwell.cli.errors import Refused
from stepwell.cli.output import settings_of
from stepwell.contract.enums import ProviderType
from stepwell.settings import InvalidSettings, Settings
from support.emulators.google import service_account
from support.processes.stepwell_process import stepwell
from support.service.installed_settings import read_settings

SECRET = "a secret of the operator, long enough for HS256"
CANARY = "canary"
A_URL = "Expected an http or https URL"


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        "STEPWELL_DATABASE_URL": "postgresql://localhost/x",
        "STEPWELL_JWT_SECRET": SECRET,
        "STEPWELL_DATA_DIR": str(folder),
        **more,
    }


@pytest.mark.parametrize("name", ["FAL_URL", "FAL_API_URL", "REPLICATE_URL", "CUSTOM_URL", "PUBLIC_URL"])
@pytest.mark.parametrize(
    "value",
    [
        "canary",
        "canary.example/path",
        "ftp://canary.example",
        "file:///canary",
        "http://",
        "https:///canary",
        "http://[canary",
        "http://canary.example?x=1",
        "http://canary.example#x",
        "http://canary.example:99999999",
        "http://canary.example:port",
        "http://canary example/",
    ],
)
def test_a_malformed_base_url_is_refused(tmp_path: Path, name: str, value: str) -> None:
    assert refusal_lines(tmp_path, **{f"STEPWELL_{name}": value}) == [f"STEPWELL_{name}: {A_URL}"]


def test_a_public_url_is_ascii_as_browsers_send_it(tmp_path: Path) -> None:
    (line,) = refusal_lines(tmp_path, STEPWELL_PUBLIC_URL="https://b\u00fccher.example")
    assert line.startswith("STEPWELL_PUBLIC_URL: Expected a URL of ASCII characters")


@pytest.mark.parametrize(
    "value", ["canary", "10.0.0.0/canary", "10.0.0.0/33", "10.0.0.0.0/8", "127.0.0.0/8,canary", "::1/129", "canary::/8"]
)
def test_a_malformed_network_is_refused(tmp_path: Path, value: str) -> None:
    (line,) = refusal_lines(tmp_path, STEPWELL_ALLOWED_CIDRS=value)
    assert line.startswith("STEPWELL_ALLOWED_CIDRS: ")
    assert value.rpartition(",")[2] not in line


@pytest.mark.parametrize(
    "value",
    [
        "canary",
        "{canary",
        '{"FAL": {"canary": 1}',
        "[]",
        '"canary"',
        "3",
        "null",
        '{"canary": {"m": 1}}',
        '{"fal": {"canary": 1}}',
        '{"FAL": 3}',
        '{"FAL": {"canary": -1}}',
        '{"FAL": {"canary": "1"}}',
        '{"FAL": {"canary": null}}',
        '{"FAL": {"canary": NaN}}',
        '{"FAL": {"canary": 1e999}}',
        "[" * 100_000,
    ],
)
def test_malformed_prices_are_refused(tmp_path: Path, value: str) -> None:
    (line,) = refusal_lines(tmp_path, STEPWELL_PRICES=value)
    assert line.startswith("STEPWELL_PRICES: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CURRENCY", "canary"),
        ("CURRENCY", "$"),
        ("RECONCILE_S", "canary"),
        ("RECONCILE_S", "-1"),
        ("POLL_INTERVAL_S", "canary"),
        ("POLL_INTERVAL_S", "0"),
        ("PROVIDER_TIMEOUT_S", "0"),
        ("OUTPUT_MAX_BYTES", "canary"),
        ("OUTPUT_TIMEOUT_S", "canary"),
        ("DEFAULT_PROVIDER", "canary"),
        ("HTTPS_ONLY", "canary"),
    ],
)
def test_other_malformed_settings_of_providers_are_refused(tmp_path: Path, name: str, value: str) -> None:
    (line,) = refusal_lines(tmp_path, **{f"STEPWELL_{name}": value})
    assert line.startswith(f"STEPWELL_{name}: Expected ")
    assert "null" not in line, "a variable of the environment can't be null"


@pytest.mark.parametrize("name", ["VERTEX", "VERTEX_TEAM_B"])
@pytest.mark.parametrize(
    "changes",
    [
        None,
        {"private_key": None},
        {"private_key": "canary"},
        {"private_key": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"},
        {"client_email": None},
        {"token_uri": None},
    ],
    ids=str,
)
def test_a_malformed_service_account_is_refused(
    tmp_path: Path, name: str, changes: dict[str, str | None] | None
) -> None:
    account = json.loads(service_account("http://canary")) | (changes or {})
    value = "{}" if changes is None else json.dumps({key: value for key, value in account.items() if value is not None})
    wanted = "Expected the JSON of a service account, with its private key"
    assert refusal_lines(tmp_path, **{f"STEPWELL_CREDENTIALS__{name}": value}) == [
        f"STEPWELL_CREDENTIALS__{name}: {wanted}"
    ]


def test_a_service_account_is_accepted(tmp_path: Path) -> None:
    account = service_account("http://somewhere")
    settings = settings_of(environment(tmp_path, STEPWELL_CREDENTIALS__VERTEX=account))
    assert settings.credentials == {"vertex": account}


def test_a_malformed_service_account_stops_the_start(tmp_path: Path) -> None:
    process = stepwell("serve", env=environment(tmp_path, STEPWELL_CREDENTIALS__VERTEX="[]"))
    assert (process.returncode, process.stdout) == (2, "")
    [line] = process.stderr.splitlines()
    assert line.startswith("stepwell: STEPWELL_CREDENTIALS__VERTEX: Expected the JSON of a service account")


def refusal_lines(folder: Path, **changes: str) -> list[str]:
    """The lines with which any command refuses them; none shows what was set."""
    with pytest.raises(Refused) as caught:
        settings_of(environment(folder, **changes))
    assert caught.value.code == 2
    lines = list(caught.value.lines)
    assert [line for line in lines if CANARY in line or len(line) > 200 or "\n" in line] == []
    return lines


def test_each_faulty_setting_has_its_line_on_stderr(tmp_path: Path) -> None:
    bad = {
        "STEPWELL_FAL_URL": "ftp://canary",
        "STEPWELL_ALLOWED_CIDRS": "canary",
        "STEPWELL_PRICES": '{"FAL": {"canary": -1}}',
    }
    process = stepwell("serve", env=environment(tmp_path, **bad))
    assert (process.returncode, process.stdout) == (2, "")
    found = sorted(line.split(": ")[1] for line in process.stderr.splitlines())
    assert found == sorted(bad)
    assert CANARY not in process.stderr


def test_well_formed_settings_of_providers_are_accepted() -> None:
    settings = read_settings(
        {
            "STEPWELL_FAL_URL": "https://queue.example/base/",
            "STEPWELL_CUSTOM_URL": "http://[::1]:8080",
            "STEPWELL_ALLOWED_CIDRS": "10.1.2.3/8, ::1 192.168.0.0/16",
            "STEPWELL_PRICES": '{"FAL": {"fal-ai/flux-lora": 0.05, "*": 1}, "CUSTOM": {}}',
            "STEPWELL_CURRENCY": "EUR",
        }
    )
    assert (settings.providers["FAL"].url, settings.providers["CUSTOM"].url) == (
        "https://queue.example/base/",
        "http://[::1]:8080",
    )
    assert [str(network) for network in settings.allowed_cidrs] == ["10.0.0.0/8", "::1/128", "192.168.0.0/16"]
    assert settings.prices == {ProviderType.FAL: {"fal-ai/flux-lora": 0.05, "*": 1.0}, ProviderType.CUSTOM: {}}
    assert settings.currency == "EUR"


@pytest.mark.parametrize(
    "name",
    [
        "STEPWELL_CREDENTIALS__fal",
        "STEPWELL_CREDENTIALS__FAL",
        "STEPWELL_CREDENTIALS__Fal",
        "stepwell_credentials__fal",
    ],
)
def test_credentials_are_found_in_any_case(name: str) -> None:
    assert read_settings({name: CANARY}).credentials == {"fal": CANARY}


def test_the_name_of_a_credential_begins_with_its_provider() -> None:
    found = {"STEPWELL_CREDENTIALS__FAL_of_Alice": "a", "STEPWELL_CREDENTIALS__REPLICATE-2": "b"}
    ignored = {"STEPWELL_CREDENTIALS__": "c", "STEPWELL_CREDENTIALS__EMPTY": "", "CREDENTIALS__X": "d"}
    assert read_settings(found | ignored).credentials == {"fal_of_alice": "a", "replicate-2": "b"}


@pytest.mark.parametrize("name", ["ACME_FAL", "team_b", "FALTEAM", "X"])
def test_a_credential_of_no_provider_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InvalidSettings) as refusal:
        read_settings({f"STEPWELL_CREDENTIALS__{name}": CANARY, "STEPWELL_CREDENTIALS__FAL": CANARY})
    wanted = "Expected a name that begins with a provider's, like STEPWELL_CREDENTIALS__FAL or STEPWELL_CREDENTIALS__"
    assert refusal.value.lines == [f"STEPWELL_CREDENTIALS__{name.upper()}: {wanted}FAL_TEAM_B"]


def test_settings_show_no_secret() -> None:
    settings = read_settings(
        {
            "STEPWELL_CREDENTIALS__FAL": f"{CANARY}-1",
            "STEPWELL_CREDENTIALS__REPLICATE": f"{CANARY}-2",
            "STEPWELL_JWT_SECRET": f"{CANARY}-3, which is long enough for HS256",
            "STEPWELL_URL_SECRET": f"{CANARY}-4, which is long enough for HS256",
            "STEPWELL_DATABASE_URL": f"postgresql://me:{CANARY}-5@localhost/x",
        }
    )
    assert isinstance(settings, Settings)
    for text in (repr(settings), str(settings), f"{settings}", repr([settings]), repr(settings.credentials)):
        assert CANARY not in text
    assert "fal" in repr(settings.credentials)
    assert "replicate" in repr(settings.credentials)
