"""The wheel, installed away from the tree, does all that the tree does: as root, and as an ordinary user.

CI runs the tests as both.
"""

import os
import subprocess
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import httpx
import pytest

from stepwell.api.routes.manual_pages import PAGES, read_images
from stepwell.cli.data_folder import open_folder
from stepwell.cli.errors import Refused
from stepwell.cli.examples import examples
from stepwell.testing.folders import fresh_folder
from support.database.postgres import running_server
from support.processes.installed_wheel import install_wheel
from support.processes.pytest_process import run_pytest, write_example
from support.processes.stepwell_process import start
from support.workflows.image_pipelines import create, until_ended

NAMELESS = 54_321
UIDS = [None] if os.geteuid() else [None, NAMELESS]  # None: whoever runs the tests
SECRET = "a secret of the operator, long enough for HS256"


@pytest.fixture(scope="module")
def installed() -> Iterator[tuple[Path, dict[str, str]]]:
    with fresh_folder() as folder:
        yield install_wheel(folder)


@pytest.mark.extended
def test_the_wheel_contains_the_migrations(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    python, env = installed
    script = "from stepwell.persistence.schema.migrations import script_folder; print(script_folder())"
    said = subprocess.run(
        [python, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    ).stdout
    assert said.strip().startswith(str(python.parents[1]))
    assert (Path(said.strip()) / "env.py").is_file()


@pytest.mark.extended
def test_the_wheel_names_and_contains_its_licence(installed: tuple[Path, dict[str, str]]) -> None:
    python, _ = installed
    (folder,) = python.parents[1].glob("lib/python*/site-packages/stepwell-*.dist-info")
    metadata = PathDistribution(folder).metadata
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "License" not in metadata
    assert "Apache License" in (folder / "licenses" / metadata["License-File"]).read_text()
    classifiers = metadata.get_all("Classifier") or []
    assert "Programming Language :: Python :: 3.11" in classifiers
    assert "Programming Language :: Python :: 3.13" in classifiers
    assert not [name for name in classifiers if name.startswith("License ::")]  # not beside an expression


@pytest.mark.extended
def test_the_wheel_contains_the_examples(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    python, env = installed
    said = subprocess.run(
        [python.parent / "stepwell", "example"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in said.splitlines()] == list(examples())
    for arguments, beginning in [
        (["example", "custom-worker"], '"""An example worker'),
        (["openapi", "--custom-worker"], '{\n  "openapi"'),
    ]:
        said = run([python.parent / "stepwell", *arguments], env).stdout
        assert said.startswith(beginning)


@pytest.mark.extended
def test_the_wheel_contains_the_manual(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    python, env = installed
    said = subprocess.run(
        [python.parent / "stepwell", "manual"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in said.splitlines()] == list(PAGES)
    (folder,) = python.parents[1].glob("lib/python*/site-packages/stepwell/manual/images")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == read_images()


@pytest.mark.extended
def test_pytest_finds_the_fixtures_of_the_installed_wheel_which_run_postgresql(
    installed: tuple[Path, dict[str, str]],
) -> None:
    python, env = installed
    with fresh_folder() as folder:
        write_example(folder)
        result = run_pytest(folder, "-o", "stepwell_database=postgres", python=python, env=env)
        assert "6 passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.extended
def test_the_installed_wheel_starts_from_any_folder(installed: tuple[Path, dict[str, str]], data_dir: Path) -> None:
    python, env = installed
    home = data_dir.parent
    if os.geteuid() == 0:
        env = {**env, "STEPWELL_DATA_DIR": str(data_dir)}
    else:
        data_dir = home / ".local/share/stepwell"  # where it looks by itself
    env = {**env, "HOME": str(home)}
    up = start("up", data_dir, env, program=[str(python.parent / "stepwell")], cwd=home, logs=home)
    try:
        with up.wait_ready().client() as client:
            assert until_ended(client, create(client))["status"] == "COMPLETED"
        assert (data_dir / "token").stat().st_uid == os.geteuid()
        assert up.terminate() == 0
        assert up.processes() == set()
    finally:
        up.kill_group()


@pytest.mark.extended
@pytest.mark.parametrize("uid", UIDS)
def test_serve_runs_as_any_user_without_a_home(
    uid: int | None, installed: tuple[Path, dict[str, str]], data_dir: Path
) -> None:
    python, env = installed
    env = {"STEPWELL_DATA_DIR": str(data_dir), "STEPWELL_JWT_SECRET": SECRET, "HOME": "/nowhere", **env}
    data_dir.mkdir()
    if uid is not None:
        os.chown(data_dir, uid, -1)
    with running_server({"fsync": "on"}) as server:
        if uid is not None:
            (server.root / "run").chmod(0o711)  # with the socket
        env["STEPWELL_DATABASE_URL"] = server.dsn()
        env["STEPWELL_DEFAULT_PROVIDER"] = "LOCAL"
        serve = start("serve", data_dir, env, program=[str(python.parent / "stepwell")], user=uid, cwd=Path("/"))
        try:
            serve.wait_ready()
            token = run([python, "-m", "stepwell", "token", "--all-tenants"], env=env).stdout.strip()
            with httpx.Client(base_url=serve.url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
                assert until_ended(client, create(client))["status"] == "COMPLETED"
            assert serve.terminate() == 0
        finally:
            serve.kill_group()


def test_no_data_folder_is_made_for_a_user_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)
    with pytest.raises(Refused, match=f"as uid {NAMELESS}, because /etc/passwd has no entry"):
        open_folder(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.extended
@pytest.mark.parametrize("command", ["up", "migrate", "bench"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a name")
def test_commands_with_an_embedded_postgres_refuse_a_user_without_a_name_and_write_nothing(
    command: str, installed: tuple[Path, dict[str, str]], data_dir: Path
) -> None:
    python, env = installed
    data_dir.mkdir()
    os.chown(data_dir, NAMELESS, -1)
    process = run([python, "-m", "stepwell", command], env={"STEPWELL_DATA_DIR": str(data_dir), **env}, user=NAMELESS)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith(
        f"stepwell: PostgreSQL can't run as uid {NAMELESS}, because /etc/passwd has no entry"
    )
    assert "`stepwell serve`" in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert list(data_dir.iterdir()) == []


@pytest.mark.extended
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a name")
def test_a_database_url_without_a_user_is_refused_for_a_user_without_a_name(
    installed: tuple[Path, dict[str, str]],
) -> None:
    python, env = installed
    env = {"STEPWELL_DATABASE_URL": "postgresql://localhost/x", "STEPWELL_DATA_DIR": "/nowhere", **env}
    process = run([python, "-m", "stepwell", "migrate"], env=env, user=NAMELESS)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == (
        "stepwell: STEPWELL_DATABASE_URL: Expected a user in it (postgresql://user@host/name): "
        f"uid {NAMELESS} has no name in /etc/passwd\n"
    )


def run(command: list[str | Path], env: dict[str, str], user: int | None = None) -> "subprocess.CompletedProcess[str]":
    """*command* to its end with nothing in its environment but *env*; as uid *user* in group 0."""
    return subprocess.run(
        command,
        env={"PATH": os.defpath, **env},
        cwd="/",
        user=user,
        group=None if user is None else 0,
        extra_groups=None if user is None else [],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
