"""A package that brings two providers, as it is installed: the package beside its metadata."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@contextmanager
def installed_package() -> Iterator[None]:
    """Have the package installed in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield
    sys.modules.pop("stepwell_prints", None)


def with_package(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process that has the package installed."""
    paths = [str(FOLDER), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {"PYTHONPATH": os.pathsep.join(paths)}
