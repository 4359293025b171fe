"""How long a result that is paid for is held on to while it can't be stored."""

import anyio
import pytest

from providers.conftest import PAUSES_S
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.providers.shared import result_storage
from stepwell.providers.shared.result_storage import retry_store

AWAY = AttemptError("the store is away", retryable=True)


class Store:
    """Raises these one after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.tries = list(errors), 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "kept"


async def test_retryable_errors_are_repeated() -> None:
    store = Store(AWAY, CallFailed("lost"))
    assert (await retry_store(store), store.tries) == ("kept", 3)


async def test_repeating_ends_after_the_last_pause() -> None:
    store = Store(*[AWAY] * 9)
    with pytest.raises(AttemptError, match="the store is away"):
        await retry_store(store)
    assert store.tries == len(PAUSES_S) + 1


@pytest.mark.parametrize("error", [AttemptError("no", retryable=False), CallFailed("gone", forgotten=True)])
async def test_other_errors_are_raised_at_once(error: Exception) -> None:
    store = Store(error)
    with pytest.raises(type(error)):
        await retry_store(store)
    assert store.tries == 1


async def test_repeating_ends_before_the_callers_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_storage, "PAUSES_S", (0.0, 600.0))
    store = Store(*[AWAY] * 9)
    with anyio.fail_after(60.0), pytest.raises(AttemptError, match="the store is away"):
        await retry_store(store)
    assert store.tries == 3


def test_the_pauses_take_three_to_five_minutes_in_total() -> None:
    assert 180 <= sum(_PAUSES_S) <= 300
    assert list(_PAUSES_S) == sorted(_PAUSES_S)


_PAUSES_S = result_storage.PAUSES_S  # as they are outside of tests
