"""A copy of the tree as a fresh clone would hold it, and shell commands in it."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TOP = Path(__file__).parents[3]
_SKIPPED = {
    ".git",
    ".venv",
    "__pycache__",
    ".hypothesis",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "dist",
    "build",
}


def copy_tree(target: Path) -> Path:
    """All that a clone has; works without git, too."""
    shutil.copytree(TOP, target, ignore=lambda _, names: [name for name in names if name in _SKIPPED])
    return target


def bash(script: str, cwd: Path, env: Mapping[str, str], within_s: float = 900) -> str:
    """Run *script*, which must succeed. Return all that it printed."""
    return output_of(["bash", "-euo", "pipefail", "-c", script], cwd, env, within_s)


def output_of(command: Sequence[str], cwd: Path, env: Mapping[str, str], within_s: float) -> str:
    """Run *command*, which must succeed. Return all that it printed. *env* is added to the environment."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout
