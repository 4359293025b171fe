"""pytest as a process, on a project of a user's in a folder."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

from support.documents.manual import pages

PLUGIN = "stepwell.testing.pytest_plugin"
_FILE = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_example(folder: Path) -> None:
    """Write the files of the example project that the manual's page `testing` shows."""
    for name, text in _FILE.findall(pages()["testing"]):
        (folder / name).write_text(text)


def run_pytest(
    folder: Path,
    *arguments: str,
    python: str | Path = sys.executable,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run pytest in *folder*, by default with this interpreter. The plugin is active in any case."""
    installed = any(each.value == PLUGIN for each in entry_points(group="pytest11"))
    plugin = [] if installed or python != sys.executable else ["-p", PLUGIN]
    return subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
