"""Parts of statements that are made of lists of columns, each with its type."""

from typing import Final, TypeAlias

Columns: TypeAlias = tuple[tuple[str, str], ...]

# The columns of the state of a step, and of an item.
STEP_STATE: Final = (
    ("status", "text"),
    ("task_id", "uuid"),
    ("attempt", "int"),
    ("provider_attempts", "int"),
    ("retry_count", "int"),
    ("on_fallback", "bool"),
    ("next_attempt_at", "timestamptz"),
    ("result", "json"),
    ("error_message", "text"),
    ("started_at", "timestamptz"),
    ("completed_at", "timestamptz"),
    ("updated_at", "timestamptz"),
    ("skip_reason", "text"),
)
FLOW: Final = ("flow", "json")

# The condition of a stage of a checkpoint: its row belongs to a workflow that the stage `written` has changed.
# `(x IN (...)) IS TRUE` always uses a hash table. A bare IN might use another plan if the planner expects few rows.
IS_WRITTEN: Final = "({0}.workflow_id IN (SELECT id FROM written)) IS TRUE"


def names(columns: Columns, prefix: str = "") -> str:
    """Return the names of *columns* as SQL, each behind the *prefix*."""
    return ", ".join(prefix + name for name, _ in columns)


def assign(columns: Columns, source: str) -> str:
    """Return the SQL that sets each of *columns* to that of *source*."""
    return ", ".join(f"{name} = {source}.{name}" for name, _ in columns)
