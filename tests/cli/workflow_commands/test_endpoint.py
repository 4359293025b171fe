"""Where a command finds the service and the token, and to whom a token is sent."""

from base64 import urlsafe_b64encode
from pathlib import Path

import httpx
import pytest

from stepwell.cli.errors import MISUSED, UNAVAILABLE, Refused
from stepwell.cli.workflow_commands.endpoint import ConnectionOptions, find_endpoint
from stepwell.cli.workflow_commands.profiles import Profile, profile_names, store_profile
from support.processes.stepwell_process import StepwellProcess

OPTION, ENV, STORED, OTHER = (f"https://{name}.example.com" for name in ("option", "env", "stored", "other"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with the profiles default and other, and without a data folder."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "STEPWELL_DATA_DIR": str(tmp_path / "data")}
    store_profile(environ, "default", Profile(STORED, "stored-token"))
    store_profile(environ, "other", Profile(OTHER, "other-token"))
    return environ


@pytest.mark.parametrize(
    ("options", "variables", "url", "token"),
    [
        ({"url": OPTION, "token": "t"}, {"STEPWELL_URL": ENV, "STEPWELL_TOKEN": "e"}, OPTION, "t"),
        ({"profile": "other"}, {"STEPWELL_URL": ENV, "STEPWELL_TOKEN": "e"}, OTHER, "other-token"),
        ({}, {"STEPWELL_URL": ENV, "STEPWELL_TOKEN": "e"}, ENV, "e"),
        ({}, {}, STORED, "stored-token"),
        ({"token": "t"}, {}, STORED, "t"),
        ({}, {"STEPWELL_TOKEN": "e"}, STORED, "e"),
        # A token that comes with an address is for that address.
        ({"url": OPTION}, {"STEPWELL_URL": ENV, "STEPWELL_TOKEN": "e"}, OPTION, None),
        ({"url": OPTION}, {}, OPTION, None),
        ({"url": OPTION, "profile": "other"}, {}, OPTION, None),
        ({}, {"STEPWELL_URL": ENV}, ENV, None),
        ({"url": "http://stored.example.com"}, {}, "http://stored.example.com", None),
        ({"url": f"{STORED}:8443"}, {}, f"{STORED}:8443", None),
        ({"url": f"{STORED}/other"}, {}, f"{STORED}/other", None),
        ({"url": f"{STORED}.evil.com"}, {}, f"{STORED}.evil.com", None),
        ({"url": "https://STORED.example.com:443/"}, {}, "https://STORED.example.com:443", "stored-token"),
        ({"url": OTHER, "profile": "other"}, {}, OTHER, "other-token"),
    ],
)
def test_the_first_source_wins_and_a_token_stays_with_its_address(
    options: dict[str, str], variables: dict[str, str], url: str, token: str | None, environ: dict[str, str]
) -> None:
    found = find_endpoint(ConnectionOptions(**options), environ | variables)  # type: ignore[arg-type]
    assert (found.url, found.token) == (url, token)


def test_a_token_may_be_in_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    found = find_endpoint(ConnectionOptions(), environ | {"STEPWELL_TOKEN_FILE": str(tmp_path / "token")})
    assert found.token == "from-a-file"


@pytest.mark.parametrize(
    ("options", "variables", "line"),
    [
        ({"url": "stepwell"}, {}, "--url: Expected an address like https://stepwell.example.com"),
        ({"url": "ftp://a"}, {}, "--url: Expected an address like https://stepwell.example.com"),
        ({"url": "http://user:secret@a"}, {}, "--url: Expected an address like https://stepwell.example.com"),
        ({}, {"STEPWELL_URL": "x"}, "STEPWELL_URL: Expected an address like https://stepwell.example.com"),
        ({"token": "a b"}, {}, "--token: Expected a token, of printable ASCII characters without spaces"),
        (
            {"profile": "x"},
            {},
            "there is no profile x; there are: default, other. `stepwell login URL --profile x` stores it",
        ),
        ({"profile": "../x"}, {}, "--profile: Expected 1 to 63 of the characters A-Z a-z 0-9 . _ -"),
        (
            {},
            {"STEPWELL_TOKEN": "secret", "STEPWELL_TOKEN_FILE": "/x"},
            "STEPWELL_TOKEN, STEPWELL_TOKEN_FILE: Expected one of the two, not both",
        ),
        (
            {},
            {"STEPWELL_TOKEN_FILE": "/nowhere"},
            "STEPWELL_TOKEN_FILE: Expected a file that can be read (No such file or directory)",
        ),
    ],
)
def test_a_wrong_option_is_refused_with_its_name(
    options: dict[str, str], variables: dict[str, str], line: str, environ: dict[str, str]
) -> None:
    with pytest.raises(Refused) as refused:
        find_endpoint(ConnectionOptions(**options), environ | variables)  # type: ignore[arg-type]
    assert (refused.value.lines, refused.value.code) == ((line,), MISUSED)


def test_a_damaged_file_of_profiles_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "stepwell/profiles.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text('{"default"')
    with pytest.raises(Refused) as refused:
        find_endpoint(ConnectionOptions(), environ)
    assert refused.value.lines == (f"{path} is damaged: delete it, and run `stepwell login` again",)
    assert find_endpoint(ConnectionOptions(url=OPTION, token="t"), environ).token == "t"


def test_a_config_folder_below_a_file_has_no_profiles() -> None:
    assert profile_names({"XDG_CONFIG_HOME": "/dev/null"}) == []


def test_without_any_service_the_error_names_all_ways(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "STEPWELL_DATA_DIR": str(tmp_path / "data")}
    with pytest.raises(Refused) as refused:
        find_endpoint(ConnectionOptions(), environ)
    assert refused.value.code == UNAVAILABLE
    (line,) = refused.value.lines
    advice = "start one, or name a service with --url, STEPWELL_URL or `stepwell login`"
    assert line == f"no `stepwell up` runs on {tmp_path / 'data'}: {advice}"


def test_the_token_of_a_data_folder_is_sent_only_to_the_up_on_it(up: StepwellProcess, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "STEPWELL_DATA_DIR": str(up.data_dir)}
    assert find_endpoint(ConnectionOptions(), environ)[:2] == (up.url, up.token)
    assert find_endpoint(ConnectionOptions(url=up.url), environ).token == up.token
    assert find_endpoint(ConnectionOptions(url="http://127.0.0.1:1"), environ).token is None
    store_profile(environ, "default", Profile(STORED, "stored-token"))
    assert find_endpoint(ConnectionOptions(), environ).token == "stored-token"
    assert find_endpoint(ConnectionOptions(data_dir=up.data_dir), environ).token == up.token


def test_another_token_is_signed_once_the_one_in_the_data_folder_has_expired(
    up: StepwellProcess, tmp_path: Path
) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "STEPWELL_DATA_DIR": str(up.data_dir)}
    path = up.data_dir / "token"
    valid, payload = path.read_text(), urlsafe_b64encode(b'{"exp": 1000000000}').decode().rstrip("=")
    path.write_text(f"e30.{payload}.x\n")
    try:
        token = find_endpoint(ConnectionOptions(), environ).token
    finally:
        path.write_text(valid)
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{up.url}/api/v1/workflows/", headers=headers).status_code == 200


def test_the_address_that_a_killed_up_has_left_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "address").write_text("http://127.0.0.1:9000\n")
    (folder / "token").write_text("a-token\n")
    with pytest.raises(Refused) as refused:
        find_endpoint(ConnectionOptions(data_dir=folder), {"XDG_CONFIG_HOME": str(tmp_path)})
    assert refused.value.code == UNAVAILABLE
    assert refused.value.lines[0].startswith(f"no `stepwell up` runs on {folder}: start one, or ")
