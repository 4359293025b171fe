"""The version before the newest migration, from the git history, to run beside this one."""

import subprocess
from pathlib import Path

import pytest

from support.processes.source_tree import TOP

_GIT_S = 60
_UNTESTED = "the version before the newest migration was not tested beside this one"


def extract_earlier_version(folder: Path) -> Path:
    """Write the sources of the commit before the newest migration to *folder*. Return what goes into PYTHONPATH.

    The test is skipped if there is no git history that contains this commit.
    """
    newest = max((TOP / "migrations/versions").glob("[0-9]*.py"))
    added = (
        _git("log", "--diff-filter=A", "--format=%H", "-1", "--", f"migrations/versions/{newest.name}").decode().strip()
    )
    before = f"{added}^" if added else "HEAD"  # a migration that isn't committed yet
    if not _git("rev-parse", "--verify", "--quiet", f"{before}^{{commit}}").strip():
        pytest.skip(f"no git history with the commit before {newest.name}: {_UNTESTED}")
    archive = _git("archive", before, "src", "migrations")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive, timeout=_GIT_S, check=True)
    return folder / "src"


def _git(*arguments: str) -> bytes:
    """Return the output of git; nothing if the command fails. The test is skipped if there is no repository."""
    try:
        inside = subprocess.run(
            ["git", "rev-parse", "--is-inside-work-tree"], cwd=TOP, capture_output=True, timeout=_GIT_S, check=False
        )
    except FileNotFoundError:
        pytest.skip(f"git is not installed: {_UNTESTED}")
    if inside.returncode:
        pytest.skip(f"there is no git history: {_UNTESTED}")
    done = subprocess.run(["git", *arguments], cwd=TOP, capture_output=True, timeout=_GIT_S, check=False)
    return b"" if done.returncode else done.stdout
