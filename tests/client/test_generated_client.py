"""The synchronous client is that of the asynchronous one."""

import inspect

from stepwell.client import AsyncStepwell, Stepwell


def _public(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name not in ("aclose", "close")
    }


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    assert _public(AsyncStepwell) == _public(Stepwell)
