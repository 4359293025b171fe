import socket
from collections.abc import Iterator

import pytest

from stepwell.providers.shared import result_storage
from support.emulators.base import Emulator
from support.emulators.clock import skip_time

PAUSES_S = (0.0, 0.0)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be stored is tried three times in all, at once."""
    monkeypatch.setattr(result_storage, "PAUSES_S", PAUSES_S)


@pytest.fixture(autouse=True)
def _no_waits_for_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that hangs or drips meets the deadline of the call at once."""
    monkeypatch.setattr(Emulator, "skip_time", staticmethod(skip_time))


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Bound, so that nobody else gets it, and not listened at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
