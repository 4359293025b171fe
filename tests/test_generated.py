"""All that is generated from the code is current, and names the command that renews it.

What needs a database or one version of Python is compared elsewhere: the sheet of the database and the statements of
the stores in `persistence`, the costs in `test_step_costs`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stepwell.contract.enums import EventType
from support.documents import generated_client, manual_tables, schema_sheet
from support.generated import COMMAND
from support.processes.source_tree import TOP
from support.snapshots import FOLDER, costs, difference, events, openapi, settings, statements, transitions

PARTS: dict[str, Callable[[], Mapping[Path, str]]] = {
    "client": generated_client.generated_files,
    "manual": manual_tables.generated_files,
    "openapi": lambda: {FOLDER / openapi.NAME: openapi.openapi()},
    "settings": lambda: {FOLDER / settings.NAME: settings.settings()},
    "events": lambda: {FOLDER / events.NAME: events.events()},
}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_generated_is_current(part: str) -> None:
    texts = PARTS[part]()
    changes = [difference(str(path.relative_to(TOP)), path.read_text("utf-8"), text) for path, text in texts.items()]
    if not texts or any(changes):
        pytest.fail("\n".join(filter(None, changes)), pytrace=False)


def test_each_generated_file_names_the_command_that_renews_it() -> None:
    listed = [path for part in ("client", "manual") for path in PARTS[part]()]
    listed += [
        schema_sheet.SHEET,
        FOLDER / "README.md",
        TOP / "deploy/constraints.txt",
        TOP / "deploy/requirements.txt",
    ]
    listed += (TOP / "src/stepwell/web/vendor").glob("*.js")
    assert [path for path in listed if COMMAND not in path.read_text("utf-8")] == []


def test_the_snapshot_of_the_events_has_each_type() -> None:
    assert events.types() == set(EventType)


def test_each_snapshot_has_a_command_that_renews_it() -> None:
    names = {openapi.NAME, settings.NAME, events.NAME, costs.NAME, transitions.NAME, *statements.NAMES}
    assert {path.name for path in FOLDER.iterdir()} == names | {"README.md"}
