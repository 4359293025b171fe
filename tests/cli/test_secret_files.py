"""Secrets in files: `STEPWELL_X_FILE` names the file that holds the secret X."""

import os
from pathlib import Path

import pytest

from stepwell.cli.output import settings_of
from stepwell.settings import InvalidSettings, Settings
from support.processes.stepwell_process import stepwell
from support.service.installed_settings import read_settings, unread_settings

SECRET = "a secret of the operator, long enough for HS256"
CANARY = "canary"
SIGNING = "whsec_" + "c2VjcmV0" * 4
SINGLE = {
    "DATABASE_URL": "postgresql://user:canary@host/name",
    "JWT_SECRET": SECRET,
    "JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----",
    "URL_SECRET": f"{SECRET} too",
    "S3_ACCESS_KEY_ID": "AKIACANARY",
    "S3_SECRET_ACCESS_KEY": "canary/+=",
    "CELERY_BROKER_URL": "redis://user:canary@host/0",
    "CELERY_RESULT_BACKEND": "rediss://user:canary@host/1",
}


def files(folder: Path, **secrets: str) -> dict[str, str]:
    """Variables `STEPWELL_<NAME>_FILE` that name files which hold *secrets*, with a newline at the end."""
    for name, secret in secrets.items():
        (folder / name).write_text(f"{secret}\n")
    return {f"STEPWELL_{name}_FILE": str(folder / name) for name in secrets}


def faults_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(InvalidSettings) as refusal:
        read_settings(environ)
    assert CANARY not in str(refusal.value)
    return refusal.value.lines


def test_every_secret_can_be_in_a_file(tmp_path: Path) -> None:
    settings = read_settings({"STEPWELL_S3_BUCKET": "pictures", **files(tmp_path, **SINGLE)})
    assert {name: getattr(settings, name.lower()) for name in SINGLE} == SINGLE


def test_every_setting_that_a_settings_object_hides_can_be_in_a_file() -> None:
    hidden = {name for name in Settings.__struct_fields__ if f"{name}=" not in repr(read_settings({}))}
    assert {name.upper() for name in hidden} <= SINGLE.keys()


def test_the_secrets_of_webhooks_and_the_credentials_can_be_in_files(tmp_path: Path) -> None:
    other = "whsec_" + "b3RoZXIh" * 4
    settings = read_settings(
        files(
            tmp_path,
            WEBHOOK_SECRET=f"{SIGNING} {other}",
            WEBHOOK_SECRETS__ACME=SIGNING,
            WEBHOOK_SECRETS__wayne=other,
            CREDENTIALS__FAL="id:secret",
            CREDENTIALS__FAL_TEAM_B="id:b",
        )
    )
    assert settings.webhook_secret == (SIGNING, other)
    assert settings.webhook_secrets == {"ACME": (SIGNING,), "wayne": (other,)}
    assert settings.credentials == {"fal": "id:secret", "fal_team_b": "id:b"}


@pytest.mark.parametrize("name", ["CREDENTIALS__FAL_FILE", "CREDENTIALS__fal_file", "CREDENTIALS__Fal_File"])
def test_a_last_file_of_a_credential_means_a_file_in_any_case(name: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("id:secret")
    assert read_settings({f"STEPWELL_{name}": str(tmp_path / "key")}).credentials == {"fal": "id:secret"}


def test_only_the_last_file_means_a_file(tmp_path: Path) -> None:
    environ = files(tmp_path, CREDENTIALS__FAL_FILE="id:secret", WEBHOOK_SECRETS__PHOTO_FILE=SIGNING)
    settings = read_settings(environ)
    assert settings.credentials == {"fal_file": "id:secret"}
    assert settings.webhook_secrets.of("photo-file") == (SIGNING,)


@pytest.mark.parametrize(("ending", "kept"), [("", ""), ("\n", ""), ("\r\n", ""), ("\n\n", ""), (" \n", " ")])
def test_newlines_at_the_end_of_a_file_are_no_part_of_the_secret(ending: str, kept: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(f" \n{SECRET}{ending}".encode())
    assert read_settings({"STEPWELL_JWT_SECRET_FILE": str(tmp_path / "secret")}).jwt_secret == f" \n{SECRET}{kept}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", SECRET),
        ("DATABASE_URL", "postgresql://user:canary@host/name"),
        ("WEBHOOK_SECRET", SIGNING),
        ("WEBHOOK_SECRETS__ACME", SIGNING),
        ("CREDENTIALS__FAL", CANARY),
    ],
)
def test_both_forms_of_one_setting_are_refused(name: str, value: str, tmp_path: Path) -> None:
    environ = {f"STEPWELL_{name}": value, **files(tmp_path, **{name: value})}
    assert faults_of(environ) == [f"STEPWELL_{name}, STEPWELL_{name}_FILE: Expected one of the two, not both"]


def test_both_forms_of_a_credential_are_refused_in_any_case(tmp_path: Path) -> None:
    environ = {"STEPWELL_CREDENTIALS__fal": CANARY, "STEPWELL_CREDENTIALS__FAL_FILE": str(tmp_path)}
    (line,) = faults_of(environ)
    assert line.startswith("STEPWELL_CREDENTIALS__FAL, STEPWELL_CREDENTIALS__FAL_FILE: ")


def test_an_empty_variable_is_no_second_form(tmp_path: Path) -> None:
    environ = {"STEPWELL_JWT_SECRET": "", "STEPWELL_URL_SECRET_FILE": "", **files(tmp_path, JWT_SECRET=SECRET)}
    settings = read_settings(environ)
    assert (settings.jwt_secret, settings.url_secret) == (SECRET, None)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expected a file with text in it"),
        (b"\r\n\n", "Expected a file with text in it"),
        (b"canary\0", "Expected a file with text in it"),
        (b"canary\xff", "Expected a file of UTF-8 text"),
        (b"canary" * 20_000, "Expected a file of at most 65536 bytes"),
    ],
)
def test_a_file_without_a_secret_is_refused_with_variable_and_path(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    line = f"STEPWELL_JWT_SECRET_FILE: {why}: {path}"
    assert faults_of({"STEPWELL_JWT_SECRET_FILE": str(path), "STEPWELL_PORT": "http"})[0] == line


def test_an_unreadable_file_is_refused_with_variable_and_path(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    lines = faults_of(
        {
            "STEPWELL_JWT_SECRET_FILE": f"{tmp_path}/none",
            "STEPWELL_URL_SECRET_FILE": str(tmp_path),
            "STEPWELL_CREDENTIALS__FAL_FILE": f"{tmp_path}/pipe",
        }
    )
    assert sorted(lines) == [
        f"STEPWELL_CREDENTIALS__FAL_FILE: Expected a regular file: {tmp_path}/pipe",
        f"STEPWELL_JWT_SECRET_FILE: Expected a file that can be read (No such file or directory): {tmp_path}/none",
        f"STEPWELL_URL_SECRET_FILE: Expected a regular file: {tmp_path}",
    ]


@pytest.mark.parametrize("secret", [CANARY, "postgresql://user:canary@host/name", f"{CANARY * 1000}"])
def test_a_secret_in_place_of_a_path_is_not_shown(secret: str) -> None:
    (line,) = faults_of({"STEPWELL_DATABASE_URL_FILE": secret})
    assert line.startswith("STEPWELL_DATABASE_URL_FILE: Expected a file that can be read (")


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path) -> None:
    environ = files(tmp_path, S3_ACCESS_KEY_ID="AKIACANARY")
    environ |= {"STEPWELL_S3_BUCKET": "pictures", "STEPWELL_S3_SECRET_ACCESS_KEY_FILE": f"{tmp_path}/none"}
    assert len(faults_of(environ)) == 1


def test_other_settings_cannot_be_in_files() -> None:
    environ = {"STEPWELL_PORT_FILE": "/run/secrets/port", "STEPWELL_JWT_SECRET_FILE": "x"}
    assert read_settings({"STEPWELL_PORT_FILE": "/run/secrets/port"}).port == 9000
    assert unread_settings(environ) == {"STEPWELL_PORT_FILE": "STEPWELL_PORT"}


def test_commands_take_secrets_from_files(tmp_path: Path) -> None:
    environ = files(tmp_path, JWT_SECRET=SECRET)
    process = stepwell("token", "--all-tenants", env=environ)
    assert (process.returncode, process.stderr) == (0, "")
    assert settings_of(environ).jwt_secret == SECRET
    ended = stepwell("serve", env={"STEPWELL_JWT_SECRET_FILE": f"{tmp_path}/none"})
    assert (ended.returncode, ended.stdout) == (2, "")
    why = "Expected a file that can be read (No such file or directory)"
    assert ended.stderr == f"stepwell: STEPWELL_JWT_SECRET_FILE: {why}: {tmp_path}/none\n"


def test_a_named_folder_goes_before_a_database_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "blocker").touch()
    process = stepwell(
        "migrate", "--data-dir", tmp_path / "blocker/data", env={"STEPWELL_DATABASE_URL_FILE": f"{tmp_path}/none"}
    )
    assert "cannot use the data folder" in process.stderr
