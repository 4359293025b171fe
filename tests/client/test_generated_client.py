"""The synchronous client and the builder's methods are generated from their sources."""

import inspect

from stepwell.client import AsyncStepwell, Stepwell
from support.documents.generated_client import COMMAND, generated_files


def test_the_generated_files_are_those_of_their_sources() -> None:
    assert {str(path): path.read_text() for path in generated_files()} == {
        str(path): text for path, text in generated_files().items()
    }, f"run {COMMAND}"


def _public(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name not in ("aclose", "close")
    }


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    assert _public(AsyncStepwell) == _public(Stepwell)
