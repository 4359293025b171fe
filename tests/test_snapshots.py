"""What others see of the service is what `tests/snapshots` has: the OpenAPI document, the settings, the events.

`persistence` compares the statements of the stores and their plans.
"""

from collections.abc import Callable

import pytest

from stepwell.contract.enums import EventType
from support.snapshots import FOLDER, changes, costs, events, openapi, settings, statements


@pytest.mark.parametrize(
    ("name", "text"),
    [(openapi.NAME, openapi.openapi), (settings.NAME, settings.settings), (events.NAME, events.events)],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_others_see_is_what_the_snapshot_has(name: str, text: Callable[[], str]) -> None:
    if difference := changes(name, text()):
        pytest.fail(difference, pytrace=False)


def test_the_snapshot_of_the_events_has_each_type() -> None:
    assert events.types() == set(EventType)


def test_each_snapshot_has_a_command_that_renews_it() -> None:
    names = {openapi.NAME, settings.NAME, events.NAME, costs.NAME, *statements.NAMES}
    assert {path.name for path in FOLDER.iterdir()} == names | {"README.md"}
