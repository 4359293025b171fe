"""The wheel, installed away from the tree, does all that the tree does: as root, and as an ordinary user."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from support.installed import install_wheel
from support.pipelines import create, until_ended
from support.postgres import fresh_folder
from support.processes import start

USERS = [None] if os.geteuid() else [None, "nobody"]


@pytest.fixture(scope="module")
def installed() -> Iterator[tuple[Path, dict[str, str]]]:
    with fresh_folder() as folder:
        yield install_wheel(folder)


def test_wheel_has_its_migrations(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    python, env = installed
    script = "from stepwell.persistence.migrations import script_folder; print(script_folder())"
    said = subprocess.run(
        [python, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    ).stdout
    assert said.strip().startswith(str(python.parents[1]))
    assert (Path(said.strip()) / "env.py").is_file()


def test_the_wheel_names_its_licence_and_holds_its_text(installed: tuple[Path, dict[str, str]]) -> None:
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


@pytest.mark.parametrize("user", USERS)
def test_wheel_starts_from_elsewhere(user: str | None, installed: tuple[Path, dict[str, str]], data_dir: Path) -> None:
    python, env = installed
    uid = None
    home = data_dir.parent
    if user is not None:
        uid = pwd.getpwnam(user).pw_uid
        os.chown(home, uid, uid)
        data_dir = home / ".local/share/stepwell"  # where it looks by itself
    else:
        env = {**env, "STEPWELL_DATA_DIR": str(data_dir)}
    env = {**env, "HOME": str(home)}
    up = start("up", data_dir, env, program=[str(python.parent / "stepwell")], cwd=home, user=uid, logs=home)
    try:
        with up.wait_ready().client() as client:
            assert until_ended(client, create(client))["status"] == "COMPLETED"
        assert (data_dir / "token").stat().st_uid == (os.geteuid() if uid is None else uid)
        assert up.terminate() == 0
        assert up.processes() == set()
    finally:
        up.kill_group()
