"""The parts of the engine's statements about the items of steps with `for_each`."""

from typing import Final

from stepwell.persistence.rows.sql_columns import FLOW, IS_WRITTEN, STEP_STATE, assign, names

_ITEM_STATE: Final = (*STEP_STATE, FLOW)
ITEM: Final = (("workflow_id", "uuid"), ("position", "int"), ("item", "int"), ("value", "json"), *_ITEM_STATE)
ITEM_COLUMNS: Final = tuple(name for name, _ in _ITEM_STATE)

# An item that repeats keeps its best result so far.
_ASSIGN_STATE: Final = assign(_ITEM_STATE, "excluded").replace(
    "result = excluded.result", "result = coalesce(excluded.result, t.result)"
)

# A stage of `engine_statements.CHECKPOINT_AND_FLOW`: the items $24, new ones and those that have changed. An item may
# be both, and an UPDATE wouldn't see a row that the same statement inserts. The `value` of an item never changes, so
# only a new item has it here.
WRITE_ITEMS: Final = f"""written_items AS (
    INSERT INTO step_items AS t ({names(ITEM)})
    SELECT {names(ITEM, "n.")} FROM unnest($24::checkpoint_item[]) AS n
    WHERE {IS_WRITTEN.format("n")}
    ON CONFLICT (workflow_id, position, item) DO UPDATE SET {_ASSIGN_STATE}
)"""  # noqa: S608 - built from the constants above

LOAD_ITEMS: Final = f"""
SELECT workflow_id, position, item, value, {", ".join(name for name in ITEM_COLUMNS if name != "result")}
FROM step_items WHERE workflow_id = ANY($1::uuid[]) ORDER BY workflow_id, position, item
"""  # noqa: S608 - built from the constants above
