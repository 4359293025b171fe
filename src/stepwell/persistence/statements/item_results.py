"""SQL over the items of a step: its result, the size of that result, and the numbers of items by status.

The result of a step with items is built from their rows when it is read, and isn't stored, unless a person has given it
by hand. All these expressions are evaluated for steps with items only, so others cost a comparison with NULL.
"""

from typing import Final

from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.definition.mapping.items import RESULT_LISTS

_ITEMS: Final = "step_items AS i WHERE i.workflow_id = {0}.workflow_id AND i.position = {0}.position"


def _list(several: str, single: str) -> str:
    """Return the SQL of the member *several* of a step's result: the lists of all items in their order.

    An item without this member counts with its member *single*.
    """
    text = f"(o.result -> '{several}')::text"
    return f"""',"{several}":[' || string_agg(
        CASE json_typeof(o.result -> '{several}')
        WHEN 'array' THEN nullif(btrim(substr({text}, 2, length({text}) - 2), E' \\t\\r\\n'), '')
        ELSE CASE json_typeof(o.result -> '{single}') WHEN 'string' THEN (o.result -> '{single}')::text END END,
        ',' ORDER BY o.item) || ']'"""


_BUILT: Final = f"""
    SELECT concat('{{"items":[', string_agg(coalesce(o.result::text, 'null'), ',' ORDER BY o.item),
                  '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
                  {", ".join(_list(*names) for names in RESULT_LISTS.items())}, '}}')::json
    FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result FROM %s) AS o
"""  # noqa: S608 - built from constants


_IS_STORED: Final = "{0}.for_each IS NULL OR {0}.result IS NOT NULL"


def result_of(step: str) -> str:
    """Return the SQL of the result of the row *step*, an alias of `steps`.

    It is NULL for a step with items that isn't COMPLETED.
    """
    built = _BUILT % _ITEMS.format(step)
    return f"CASE WHEN {_IS_STORED.format(step)} THEN {step}.result WHEN {step}.status = 'COMPLETED' THEN ({built}) END"


def final_result_of(step: str) -> str:
    """Return the SQL of the result of the row *step*, as it is shown as the final result of its workflow.

    It is NULL if the results of the items have over `MAX_RESULT_BYTES` together. They are decompressed only if their
    stored size doesn't exceed that.
    """
    items = _ITEMS.format(step)
    stored = f"(SELECT coalesce(sum(pg_column_size(i.result)), 0) FROM {items})"  # noqa: S608
    exact = f"(SELECT coalesce(sum(octet_length(i.result::text)), 0) FROM {items})"  # noqa: S608
    built = f"CASE WHEN {exact} <= {MAX_RESULT_BYTES} THEN ({_BUILT % items}) END"
    return f"""CASE WHEN {step}.status <> 'COMPLETED' THEN NULL WHEN {_IS_STORED.format(step)} THEN {step}.result
               WHEN {stored} <= {MAX_RESULT_BYTES} THEN {built} END"""


FINAL_MAX_BYTES: Final = 2 * MAX_RESULT_BYTES + 10_000
"""The largest size of such a result that `result_bytes_of` estimates."""


def result_bytes_of(step: str, bytes_of: str, own: str) -> str:
    """Return the SQL of an upper bound of the bytes of the result of the row *step*.

    *own* is the SQL of the bytes of its column `result`, and *bytes_of* that of the bytes of a column {0}. Texts and
    paths of items are in the result twice.
    """
    size = bytes_of.format("i.result")
    total = f"100 + 2 * coalesce(sum({size}), 0) + 5 * count(*)"
    of_items = f"SELECT least({total}, 2000000000)::int FROM {_ITEMS.format(step)}"  # noqa: S608
    given = f"WHEN {step}.result IS NOT NULL THEN {bytes_of.format(f'{step}.result')}"
    built = f"WHEN {step}.status = 'COMPLETED' THEN ({of_items})"
    return f"CASE WHEN {step}.for_each IS NULL THEN {own} {given} {built} ELSE 0 END"


def counts_of(step: str) -> str:
    """Return the SQL of the members of `ItemCounts` as JSON; NULL for a step without items, and before it has begun."""
    number = "count(*) FILTER (WHERE i.status {0})"
    counts = ", ".join(
        f"'{name}', {number.format(condition)}"
        for name, condition in (
            ("pending", "IN ('PENDING', 'CANCELLED')"),
            ("running", "= 'RUNNING'"),
            ("completed", "= 'COMPLETED'"),
            ("failed", "= 'FAILED'"),
            ("skipped", "= 'SKIPPED'"),
        )
    )
    counts += ", 'retries', coalesce(sum(i.retry_count), 0)"
    query = f"SELECT json_build_object('total', count(*), {counts}) FROM {_ITEMS.format(step)}"  # noqa: S608
    return f"CASE WHEN {step}.for_each IS NOT NULL AND {step}.flow ->> 'items' IS NOT NULL THEN ({query}) END"


# The share of the items that are done, added up over the steps of a workflow that aren't done.
ITEMS_DONE: Final = """(
    SELECT sum(each.share) FROM (
        SELECT (count(*) FILTER (WHERE i.status IN ('COMPLETED', 'SKIPPED')))::float8 / count(*) AS share
        FROM steps AS s JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
        WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL
          AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED', 'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
        GROUP BY s.position
    ) AS each
)"""
