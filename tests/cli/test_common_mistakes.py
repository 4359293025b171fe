"""The commonest mistakes of users. Each is reported in one line: what is wrong, where, and what to do."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import jwt
import pytest

from stepwell.contract.enums import ProviderType, TaskType
from support.database.embedded_servers import NOBODY
from support.database.postgres import TestServer, fresh_folder
from support.database.prepared_cluster import copy_cluster
from support.processes.stepwell_process import (
    READY_S,
    StepwellProcess,
    running_up,
    start,
    stepwell,
    surroundings,
    until,
)
from support.providers.emulated_in_thread import emulated
from support.workflows.image_pipelines import until_ended

SECRET = "a secret of the operator, long enough for HS256"
PORT = ("--port", "0")
CORRECT_URL = "start it, or correct host, user, password and name in STEPWELL_DATABASE_URL"
# Root may write everywhere. So the command becomes another user, once it has loaded all modules.
AS_NOBODY = """
import os, sys
import stepwell.cli.commands, stepwell.cli.up
os.setgroups([]); os.setgid({user}); os.setuid({user})
sys.exit(stepwell.cli.commands.run())
"""

Lines = list[str]


def data_folder_without_access_rights(data_dir: Path, _: TestServer) -> tuple[Lines, Lines]:
    data_dir.mkdir(mode=0o755)
    command = [sys.executable, "-m", "stepwell"]
    if os.geteuid() == 0:
        command = [sys.executable, "-c", AS_NOBODY.format(user=NOBODY)]
    else:
        data_dir.chmod(0o555)
    options = ["up", *PORT, "--data-dir", str(data_dir)]
    ended = subprocess.run(
        [*command, *options], env=surroundings({}), capture_output=True, text=True, timeout=240, check=False
    )
    advice = "let this user write there, or choose another folder with --data-dir or STEPWELL_DATA_DIR"
    return ended.stderr.splitlines(), [f"stepwell: cannot use the data folder {data_dir}: it is not writable: {advice}"]


def unavailable_database(data_dir: Path, _: TestServer) -> tuple[Lines, Lines]:
    """It may still be starting, so that `serve` waits for it, and reports that at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    serving = start("serve", data_dir, of_database(f"postgresql://u:p@{address}/x", data_dir))
    try:
        until(lambda: "database.awaited" in serving.stderr, READY_S, lambda: serving.stderr)
        lines = [json.loads(line)["error"] for line in serving.stderr.splitlines()]
        serving.terminate()
    finally:
        serving.kill_group()
    refused = f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
    return lines, [f"the database at {address} doesn't respond: {refused}: {CORRECT_URL}"]


def wrong_database_password(data_dir: Path, durable: TestServer) -> tuple[Lines, Lines]:
    async def require_password() -> None:
        connection = await asyncpg.connect(durable.dsn())
        await connection.execute("CREATE ROLE ann LOGIN PASSWORD 'right'")
        rules = durable.root / "data/pg_hba.conf"
        rules.write_text("local all ann scram-sha-256\n" + rules.read_text())
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    asyncio.run(require_password())
    dsn = durable.dsn().replace("//stepwell@", "//ann:wrong@")
    lines = stderr_of("serve", *PORT, env=of_database(dsn, data_dir))
    why = 'the database refuses: password authentication failed for user "ann"'
    return lines, [f"stepwell: {why}: {CORRECT_URL}"]


def of_database(dsn: str, data_dir: Path) -> dict[str, str]:
    return {"STEPWELL_DATABASE_URL": dsn, "STEPWELL_JWT_SECRET": SECRET, "STEPWELL_DATA_DIR": str(data_dir)}


def stderr_of(*arguments: str | Path, env: dict[str, str] | None = None) -> Lines:
    ended = stepwell(*arguments, env=env)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr.splitlines()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(data_folder_without_access_rights, marks=pytest.mark.extended),
        unavailable_database,
        wrong_database_password,
    ],
)
def test_a_start_that_fails_says_why_and_what_to_do_in_one_line(
    make: Callable[[Path, TestServer], tuple[Lines, Lines]], data_dir: Path, durable: TestServer
) -> None:
    lines, expected = make(data_dir, durable)
    assert lines == expected


@pytest.fixture(scope="module")
def service(prepared: Path) -> Iterator[StepwellProcess]:
    """A `stepwell up` with a misspelled setting, a wrong key of FAL, and no key of OPENAI."""
    with fresh_folder() as folder, emulated(folder, (ProviderType.FAL,)) as worlds:
        env = worlds.environment | {"STEPWELL_CREDENTIALS__FAL": "a-wrong:key", "STEPWELL_GRCE_S": "4"}
        copy_cluster(prepared, folder / "data")
        with running_up(folder / "data", env) as running:
            yield running


def test_an_unknown_setting_is_reported_in_one_line(service: StepwellProcess) -> None:
    (line,) = [line for line in service.stderr.splitlines() if "setting.unknown" in line]
    entry = json.loads(line)
    assert (entry["name"], entry["advice"]) == ("STEPWELL_GRCE_S", "did you mean STEPWELL_GRACE_S?")


def token(service: StepwellProcess, *, secret: str | None = None, exp: int) -> str:
    claims = {"iss": "stepwell", "aud": "stepwell", "sub": "x", "iat": exp - 60, "exp": exp}
    return jwt.encode(claims, secret or (service.data_dir / "secret").read_text().strip(), "HS256")


def test_a_wrong_or_expired_token_is_refused_in_one_line(service: StepwellProcess) -> None:
    def refusal(bearer: str) -> str:
        response = httpx.get(f"{service.url}/api/v1/workflows/", headers={"Authorization": f"Bearer {bearer}"})
        assert response.status_code == 401
        return str(response.json()["detail"])

    assert refusal(token(service, secret=SECRET, exp=int(time.time()) + 60)) == (
        "The token is malformed or longer than 8192 bytes, or its signature is wrong. "
        "Use one that this service's key has signed; `stepwell token` makes it."
    )
    expired = token(service, exp=1_700_000_000)
    assert refusal(expired) == "The token expired at 2023-11-14T22:13:20Z. Get a new one; `stepwell token` makes it."


class Faulty(NamedTuple):
    """Members of the second step of a definition, the first being `{"id": "draw"}`, and the fault that they are."""

    members: dict[str, Any]
    place: list[str | int]
    line: str


def mapping(**members: str) -> dict[str, Any]:
    base = {"from_step": "draw", "from_field": "x", "to_field": "y"}
    return {"depends_on": ["draw"], "input_mappings": [base | members]}


FAULTS = {
    "unknown task type": Faulty(
        {"task_type": "GENERATON"},
        ["task_type"],
        f"Expected one of {', '.join(TaskType)}; did you mean GENERATION?",
    ),
    "mistyped depends_on": Faulty({"dependsOn": ["draw"]}, ["dependsOn"], "; did you mean depends_on?"),
    "mistyped step in depends_on": Faulty(
        {"depends_on": ["darw"]}, ["depends_on", 0], "There is no step 'darw'; did you mean 'draw'?"
    ),
    "unknown step in depends_on": Faulty(
        {"depends_on": ["paint"]}, ["depends_on", 0], "There is no step 'paint'; there is 'draw', 'use'"
    ),
    "mapping from an unknown step": Faulty(
        mapping(from_step="drawn"), ["input_mappings", 0, "from_step"], "There is no step 'drawn'; did you mean 'draw'?"
    ),
    "mapping that is no expression": Faulty(
        mapping(from_field="image["),
        ["input_mappings", 0, "from_field"],
        "Not a JMESPath expression: it ends too early; write the name of a field, or correct the expression",
    ),
    "missing provider key": Faulty(
        {"task_type": "GENERATION", "config": {"prompt": "x"}, "provider_config": {"provider_type": "OPENAI"}},
        ["provider_config", "provider_type"],
        "OPENAI isn't configured here: set STEPWELL_CREDENTIALS__OPENAI or STEPWELL_OPENAI_URL; configured: LOCAL, FAL",
    ),
}


@pytest.mark.parametrize("mistake", FAULTS)
def test_a_faulty_definition_is_refused_in_one_line_with_its_place(mistake: str, service: StepwellProcess) -> None:
    members, place, line = FAULTS[mistake]
    (fault,) = faults_of(service, {"id": "draw", "task_type": "PASSTHROUGH"}, members)
    assert fault["loc"] == ["body", "steps", 1, *place]
    assert line in fault["msg"]
    assert "\n" not in fault["msg"]


def test_a_cycle_is_refused_in_one_line_that_names_its_steps(service: StepwellProcess) -> None:
    first = {"id": "draw", "task_type": "PASSTHROUGH", "depends_on": ["use"]}
    (fault,) = faults_of(service, first, {"depends_on": ["draw"]})
    assert fault["msg"] == "Dependencies form a cycle: 'draw' needs 'use' needs 'draw'; remove one of them"


def faults_of(service: StepwellProcess, first: dict[str, Any], members: dict[str, Any]) -> list[dict[str, Any]]:
    with service.client() as client:
        response = client.post("/api/v1/workflows/", json=definition(first, {"task_type": "PASSTHROUGH"} | members))
    assert response.status_code == 422
    faults: list[dict[str, Any]] = response.json()["detail"]
    return faults


def definition(*steps: dict[str, Any]) -> dict[str, Any]:
    named = [{"id": name} | step for name, step in zip(("draw", "use"), steps, strict=False)]
    return {"name": "n", "origin_instance": "o", "steps": named}


FAL = {"provider_type": "FAL", "fal_app_id": "fal-ai/flux/dev"}
FAILURES = {
    "wrong provider key": (
        [{"task_type": "GENERATION", "config": {"prompt": "x"}, "provider_config": FAL, "max_retries": 0}],
        "draw: FAL: the key was refused (set STEPWELL_CREDENTIALS__FAL): the submit was answered 401: ",
    ),
    "mapping that finds nothing": (
        [{"task_type": "PASSTHROUGH", "config": {"image": "x"}}, {"task_type": "PASSTHROUGH"} | mapping()],
        "use: Mapping of 'x' of step 'draw' to 'y' finds nothing; the result has image: correct from_field",
    ),
}


@pytest.mark.parametrize("mistake", FAILURES)
def test_a_step_fails_with_one_line(mistake: str, service: StepwellProcess) -> None:
    steps, line = FAILURES[mistake]
    with service.client() as client:
        created = client.post("/api/v1/workflows/", params={"start": "true"}, json=definition(*steps))
        ended = until_ended(client, created.json()["id"])
    (error,) = ended["errors"]
    assert error.startswith(line)
    assert "\n" not in error
