"""The built wheel, installed outside of the tree, for an interpreter that every user of the machine can run."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from support.processes.source_tree import TOP

_NOT_OURS = shutil.ignore_patterns("stepwell", "stepwell-*", "_*stepwell*")


def install_wheel(folder: Path) -> tuple[Path, dict[str, str]]:
    """Build the wheel and install it below *folder*, beside the packages of this environment; the interpreter that has
    it, and what it needs in its environment.
    """
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", TOP],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    interpreter, env = _interpreter(folder / "base")
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder / "venv"], check=True, env=os.environ | env)
    python = folder / "venv/bin/python"
    packages = Path(sysconfig.get_path("purelib"))
    _link_tree(packages, folder / "venv" / packages.relative_to(sys.prefix), _NOT_OURS)
    (wheel,) = (folder / "dist").glob("stepwell-*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel],
        check=True,
        env=os.environ | env | {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    return python, env


def _interpreter(base: Path) -> tuple[Path, dict[str, str]]:
    """This interpreter without its packages; a copy in *base* where it is closed to others, as below root's home."""
    found = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    if all(folder.stat().st_mode & 0o001 for folder in found.parents):
        return found, {}
    library = Path(sysconfig.get_path("stdlib"))
    _link_tree(library, base / "lib" / library.name, shutil.ignore_patterns("site-packages", "test"))
    (base / "bin").mkdir()
    _link(found, base / "bin" / found.name)
    for shared in library.parent.glob("libpython*"):
        _link(shared, base / "lib" / shared.name)
    return base / "bin" / found.name, {"LD_LIBRARY_PATH": str(base / "lib")}


def _link_tree(source: Path, target: Path, ignored: Callable[[str, list[str]], set[str]]) -> None:
    shutil.copytree(source, target, ignore=ignored, copy_function=_link, dirs_exist_ok=True)


def _link(source: str | Path, target: str | Path) -> None:
    """A copy; a hard link where that is possible, for it costs nothing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
