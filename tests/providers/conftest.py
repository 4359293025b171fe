import pytest

from stepwell.providers import keeping

PAUSES_S = (0.0, 0.0)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be stored is tried three times in all, at once."""
    monkeypatch.setattr(keeping, "PAUSES_S", PAUSES_S)
