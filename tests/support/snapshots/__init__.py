"""Snapshots: what others see of the service, recorded in `tests/snapshots`, so that each change of it shows in a diff.

`poe generate snapshots` renews them. The README there says what each file has.
"""

from difflib import unified_diff
from pathlib import Path

from support.generated import COMMAND

FOLDER = Path(__file__).parents[2] / "snapshots"
ADVICE = f"if the change is wanted, run: {COMMAND}"
_MOST_LINES = 200


def read_snapshot(name: str) -> str:
    """Return the text of a snapshot; an empty one before it is recorded for the first time."""
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write_snapshot(name: str, text: str) -> None:
    """Write the text of a snapshot."""
    (FOLDER / name).write_text(text, encoding="utf-8")


def changes(name: str, text: str) -> str:
    """Return how *text* differs from the snapshot, and the command that renews it; an empty text if it doesn't."""
    return difference(name, read_snapshot(name), text)


def difference(name: str, before: str, after: str) -> str:
    """Return the diff of two texts with the advice below; an empty text if they are equal."""
    if before == after:
        return ""
    lines = list(unified_diff(before.splitlines(), after.splitlines(), name, "now", lineterm="", n=2))
    more = [f"... and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return "\n".join([*lines[:_MOST_LINES], *more, ADVICE])
