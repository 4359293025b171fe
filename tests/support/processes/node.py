"""Node.js with the npm packages of `tests/typescript`: the generator, the client and the compiler of TypeScript."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.processes.source_tree import TOP, output_of

SOURCES = TOP / "tests/typescript"
_FILES = ("package.json", "package-lock.json", ".npmrc")
_OLDEST = 20
_INSTALL_S = 300
_RUN_S = 180


class Node:
    """Runs programs of Node.js. *packages* contains `node_modules`."""

    def __init__(self, packages: Path) -> None:
        self._modules = packages / "node_modules"

    def link_packages(self, folder: Path) -> None:
        """Let the programs in *folder* import the packages."""
        (folder / "node_modules").symlink_to(self._modules)

    def run(self, folder: Path, program: str, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run a package's program, or a file of *folder*. It must succeed. Return all that it printed."""
        file = self._modules / ".bin" / program
        command = ["node", str(file if file.exists() else folder / program), *arguments]
        return output_of(command, folder, env or {}, _RUN_S)


def install_node_packages(shared: Path) -> Node:
    """Install the packages of the lock file in *shared*, once for all processes of a test run.

    The test is skipped if there is no Node.js.
    """
    if not _has_node():
        pytest.skip(f"Node.js {_OLDEST} or newer, with npm, is not installed: the TypeScript client is not tested")
    installed = shared / "typescript"
    with (shared / "typescript.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists():
            _install(shared, installed)
    return Node(installed)


def _has_node() -> bool:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return int(version.removeprefix("v").split(".")[0]) >= _OLDEST


def _install(shared: Path, installed: Path) -> None:
    partial = shared / "typescript.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name in _FILES:
        shutil.copy(SOURCES / name, partial)
    home = os.environ.get("HOME", "")
    # Without a home of one's own, npm has no place for its cache.
    own = {} if os.access(home, os.W_OK) else {"HOME": str(shared), "npm_config_cache": str(shared / "npm")}
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--prefer-offline"]
    output_of(["npm", "ci", *options], partial, own, _INSTALL_S)
    partial.rename(installed)
