"""A user of the command line, and one who is connected to a service."""

from pathlib import Path

import pytest

from support.processes.command_line import CommandLine
from support.processes.stepwell_process import StepwellProcess


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A user without a service."""
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def shell(user: CommandLine, up: StepwellProcess) -> CommandLine:
    """A user on the machine of a `stepwell up`, who may read its data folder."""
    user.export(STEPWELL_DATA_DIR=str(up.data_dir))
    return user
