"""Commands of `stepwell` in the process of the test, with an environment of their own."""

import io
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec import json

from stepwell.cli.commands import run
from support.service.logs import restored_logging


class Finished(NamedTuple):
    """The end of a command: its exit code, and its output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.decode(self.out)

    @property
    def lines(self) -> list[Any]:
        """The output as lines of JSON."""
        return [json.decode(line) for line in self.out.splitlines()]


class CommandLine:
    """A user with a home of their own, who runs commands one after the other. `env` is this user's environment."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._patch, self._capture = patch, capture
        for name in [*os.environ]:
            if name.startswith(("STEPWELL_", "XDG_")) and name != "STEPWELL_POSTGRES_BIN":
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("STEPWELL_DATA_DIR", str(home / "data"))

    def export(self, **variables: str) -> None:
        """Set environment variables for the commands that follow."""
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def __call__(self, *arguments: object, stdin: str = "") -> Finished:
        """Run a command. Its input and output are no terminal."""
        self._patch.setattr(sys, "argv", ["stepwell", *map(str, arguments)])
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        self._capture.readouterr()
        with restored_logging():
            code = run()
        out, err = self._capture.readouterr()
        return Finished(code, out, err)
