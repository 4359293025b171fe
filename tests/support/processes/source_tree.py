"""A copy of the tree as a fresh clone would hold it, and shell commands in it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
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


def bash(script: str, cwd: Path, env: Mapping[str, str], within_s: float = 300) -> str:
    """Run *script*, which must not fail; what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout
