"""`stepwell serve` and `migrate` on a PostgreSQL that somebody else runs."""

import asyncio
from pathlib import Path
from urllib.parse import quote

import asyncpg
import httpx
import pytest

from stepwell.api.auth.authentication import sign_token
from stepwell.cli.errors import Refused
from stepwell.cli.output import settings_of
from stepwell.cli.serve import serve
from stepwell.cli.signals import Signals
from stepwell.contract.scopes import Permission
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.embedded.server import EmbeddedPostgres
from support.database.postgres import TestServer, create_database
from support.processes.stepwell_process import PROGRAM, READY_S, StepwellProcess, start, stepwell, until
from support.workflows.image_pipelines import create, pipeline, until_ended

SECRET = "a secret of the operator, long enough for HS256"
CORRECT_URL = "start it, or correct host, user, password and name in STEPWELL_DATABASE_URL"
STREAM = {"Accept": "text/event-stream"}
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----"""


@pytest.fixture
def dsn(durable: TestServer) -> str:
    """Of an empty database."""
    return durable.dsn(asyncio.run(create_database(durable.dsn())))


def settings(dsn: str, folder: Path, **more: str) -> dict[str, str]:
    return {
        "STEPWELL_DATABASE_URL": dsn,
        "STEPWELL_JWT_SECRET": SECRET,
        "STEPWELL_DATA_DIR": str(folder),
        **more,
    }


def client(running: StepwellProcess) -> httpx.Client:
    token = sign_token(
        SECRET,
        "HS256",
        "stepwell",
        "stepwell",
        subject="tester",
        tenant=None,
        every=True,
        permissions=tuple(Permission),
        expires_s=600,
        now=DatabaseClock().now(),
    )
    return httpx.Client(base_url=running.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def test_serve_migrates_an_empty_database_and_hands_its_workflows_over(dsn: str, data_dir: Path) -> None:
    env = settings(dsn, data_dir)
    provider = {"provider_type": "LOCAL"}
    for program in (PROGRAM, None):  # the second finds it migrated, and takes over at once what the first released
        serving = start("serve", data_dir, env, program=program)
        try:
            with client(serving.wait_ready()) as http, http.stream("GET", "/api/v1/events", headers=STREAM) as events:
                refused = http.post("/api/v1/workflows/", json=pipeline())
                assert refused.status_code == 422, "LOCAL must not be production's default"
                steps = [step | {"provider_config": provider} for step in pipeline()["steps"]]
                assert until_ended(http, create(http, steps=steps))["status"] == "COMPLETED"
                assert serving.terminate() == 0
                text = events.read().decode()
            assert "event: workflow.created" in text
            assert text.endswith("\n\n: the service is stopping\n\n")
            assert "uvicorn" not in serving.stderr  # which would say that it had to cut something off
            assert serving.stdout == f"Stepwell is ready on {serving.url}\n"
            assert SECRET not in serving.stderr
        finally:
            serving.kill_group()


def test_serve_waits_for_its_database(migrated_dir: Path) -> None:
    root = migrated_dir / "postgres"
    postgres = EmbeddedPostgres(root)
    dsn = f"postgresql://stepwell@/stepwell?host={quote(str(root), safe='')}%2Frun&port=5432"
    serving = start("serve", migrated_dir, settings(dsn, migrated_dir))
    try:
        until(lambda: "database.awaited" in serving.stderr, READY_S)
        assert '"error": "the database doesn\'t respond: ' in serving.stderr
        postgres.start()
        assert postgres.dsn() == dsn
        serving.wait_ready()
        assert serving.stderr.count("database.awaited") == 1
        assert serving.terminate() == 0
    finally:
        serving.kill_group()
        postgres.stop()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"STEPWELL_DATABASE_URL": "", "STEPWELL_JWT_SECRET": ""},
            ["STEPWELL_DATABASE_URL: Expected postgresql://", "STEPWELL_JWT_SECRET: Expected a secret of at least 32"],
        ),
        ({"STEPWELL_JWT_SECRET": "short"}, ["STEPWELL_JWT_SECRET: Expected at least 32 bytes"]),
        ({"STEPWELL_DATABASE_URL": "mysql://x/y"}, ["STEPWELL_DATABASE_URL: Expected postgresql://"]),
        ({"STEPWELL_JWT_ALGORITHM": "RS256"}, ["STEPWELL_JWT_PUBLIC_KEY: Expected", "STEPWELL_URL_SECRET: Expected"]),
        ({"STEPWELL_JWT_PUBLIC_KEY": PUBLIC_KEY}, ["STEPWELL_JWT_ALGORITHM: Expected RS256, ES256 or EdDSA"]),
        (
            {"STEPWELL_JWT_PUBLIC_KEY": PUBLIC_KEY, "STEPWELL_JWT_ALGORITHM": "EdDSA"},
            ["STEPWELL_URL_SECRET: Expected at least 32 bytes"],
        ),
        (
            {
                "STEPWELL_JWT_PUBLIC_KEY": "none",
                "STEPWELL_JWT_ALGORITHM": "EdDSA",
                "STEPWELL_URL_SECRET": SECRET,
            },
            ["STEPWELL_JWT_PUBLIC_KEY: the JWT key is none for EdDSA"],
        ),
        (
            {
                "STEPWELL_JWT_JWKS_URL": "https://x.example/keys?p=1",
                "STEPWELL_JWT_PUBLIC_KEY": PUBLIC_KEY,
                "STEPWELL_JWT_ALGORITHM": "EdDSA",
            },
            [
                "STEPWELL_JWT_SECRET: Expected none beside STEPWELL_JWT_JWKS_URL",
                "STEPWELL_JWT_PUBLIC_KEY: Expected none beside STEPWELL_JWT_JWKS_URL",
                "STEPWELL_JWT_ALGORITHM: Expected none beside STEPWELL_JWT_JWKS_URL",
                "STEPWELL_URL_SECRET: Expected at least 32 bytes",
            ],
        ),
        (
            {"STEPWELL_JWT_JWKS_URL": "https://x.example/keys", "STEPWELL_JWT_SECRET": ""},
            ["STEPWELL_URL_SECRET: Expected at least 32 bytes"],
        ),
        *(
            ({"STEPWELL_JWT_JWKS_URL": url}, ["STEPWELL_JWT_JWKS_URL: Expected an http or https URL"])
            for url in (
                "x.example/keys",
                "file:///keys",
                "https://u:p@x/keys",
                "https://x/a b",
                "https://x/#k",
                "http://",
            )
        ),
        *(
            ({"STEPWELL_JWT_DEFAULT_SCOPE": scope}, ["STEPWELL_JWT_DEFAULT_SCOPE: Expected some of workflows:read, "])
            for scope in ("workflows", "workflows:read,workflows:write", "workflows:read  workflows:write", " ")
        ),
        ({"STEPWELL_PORT": "http"}, ["STEPWELL_PORT: Expected"]),
    ],
)
def test_every_wrong_setting_has_its_line(changes: dict[str, str], said: list[str], tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        serve(settings_of(settings("postgresql://localhost/x", tmp_path, **changes)), Signals())
    assert refused.value.code == 2
    assert len(refused.value.lines) == len(said)
    for line, expected in zip(refused.value.lines, said, strict=True):
        assert line.startswith(expected)


def test_a_refused_start_is_reported_on_stderr() -> None:
    refused = stepwell("serve")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert [line.split(":")[:2] for line in refused.stderr.splitlines()] == [
        ["stepwell", " STEPWELL_DATABASE_URL"],
        ["stepwell", " STEPWELL_JWT_SECRET"],
    ]


@pytest.mark.extended
def test_serve_accepts_tokens_by_a_public_key(dsn: str, data_dir: Path) -> None:
    keys = {
        "STEPWELL_JWT_PUBLIC_KEY": PUBLIC_KEY,
        "STEPWELL_JWT_ALGORITHM": "EdDSA",
        "STEPWELL_URL_SECRET": SECRET,
        "STEPWELL_JWT_SECRET": "",
    }
    serving = start("serve", data_dir, settings(dsn, data_dir, **keys))
    try:
        serving.wait_ready()
        assert serving.terminate() == 0
    finally:
        serving.kill_group()


def test_an_unusable_database_is_reported_in_one_line(durable: TestServer, server: TestServer, tmp_path: Path) -> None:
    nowhere = stepwell("serve", "--port", "0", env=settings(durable.dsn("nowhere"), tmp_path))
    assert (nowhere.returncode, nowhere.stderr.splitlines()) == (
        1,
        [f'stepwell: the database refuses: database "nowhere" does not exist: {CORRECT_URL}'],
    )
    fickle = server.dsn(asyncio.run(create_database(server.dsn())))
    refused = stepwell("serve", "--port", "0", env=settings(fickle, tmp_path, STEPWELL_LOG_LEVEL="error"))
    assert refused.returncode == 1
    assert refused.stderr == (
        "stepwell: the database doesn't keep what it commits: fsync is off, synchronous_commit is on: both must be on\n"
    )


def test_migrate_brings_the_tables_up_to_date(dsn: str, data_dir: Path) -> None:
    for _ in range(2):
        done = stepwell("migrate", env=settings(dsn, data_dir))
        assert (done.returncode, done.stdout, done.stderr) == (0, "The tables are up to date.\n", "")
    assert not data_dir.exists()
    embedded = stepwell("migrate", "--data-dir", data_dir, env=settings("postgresql://nowhere.invalid/x", data_dir))
    assert (embedded.returncode, embedded.stderr) == (0, "")
    assert (data_dir / "postgres/data").is_dir()


def test_tables_that_only_newer_versions_may_use_are_refused(dsn: str, data_dir: Path) -> None:
    async def pretend() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("UPDATE schema_revision SET version_num = '9999'")
        await connection.execute("UPDATE installation SET oldest_revision = '9999'")
        await connection.close()

    assert stepwell("migrate", env=settings(dsn, data_dir)).returncode == 0
    asyncio.run(pretend())
    refused = stepwell("migrate", env=settings(dsn, data_dir))
    assert refused.returncode == 1
    assert "newer version of Stepwell" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
