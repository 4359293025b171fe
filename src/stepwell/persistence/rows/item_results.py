"""SQL over the items of a step: its result, the size of that, and how its items stand.

The result of a step with items is built from their rows when it is read, and isn't stored. All these expressions are
evaluated for steps with items only, so others cost a comparison with NULL.
"""

from typing import Final

from stepwell.domain.strict_json.size import MAX_RESULT_BYTES

_ITEMS: Final = "step_items AS i WHERE i.workflow_id = {0}.workflow_id AND i.position = {0}.position"
_LISTS: Final = (
    ("result_image_paths", "result_image_path"),
    ("result_video_paths", "result_video_path"),
    ("result_texts", "result_text"),
)


def _list(several: str, single: str) -> str:
    """The member *several* of a step's result: that of each item, or else its member *single*, in their order."""
    text = f"(o.result -> '{several}')::text"
    return f"""',"{several}":[' || string_agg(
        CASE json_typeof(o.result -> '{several}')
        WHEN 'array' THEN nullif(btrim(substr({text}, 2, length({text}) - 2), E' \\t\\r\\n'), '')
        ELSE CASE json_typeof(o.result -> '{single}') WHEN 'string' THEN (o.result -> '{single}')::text END END,
        ',' ORDER BY o.item) || ']'"""


_BUILT: Final = f"""
    SELECT concat('{{"items":[', string_agg(coalesce(o.result::text, 'null'), ',' ORDER BY o.item),
                  '],"count":', count(*), ',"failed":', count(*) FILTER (WHERE o.status = 'FAILED'),
                  {", ".join(_list(*names) for names in _LISTS)}, '}}')::json
    FROM (SELECT i.item, i.status, CASE WHEN i.status = 'COMPLETED' THEN i.result END AS result FROM %s) AS o
"""  # noqa: S608 - built from constants


def result_of(step: str) -> str:
    """Return the SQL of the result of the row *step*, an alias of `steps`. It is NULL unless items have an end."""
    built = _BUILT % _ITEMS.format(step)
    has_built = f"{step}.for_each IS NOT NULL AND {step}.status = 'COMPLETED'"
    return f"CASE WHEN {step}.for_each IS NULL THEN {step}.result WHEN {has_built} THEN ({built}) END"


def final_result_of(step: str) -> str:
    """Return the SQL of the result of the row *step*, as a workflow shows that of its last step.

    It is NULL if the results of its items have over `MAX_RESULT_BYTES` together. Only those that may have fewer are
    unpacked.
    """
    items = _ITEMS.format(step)
    stored = f"(SELECT coalesce(sum(pg_column_size(i.result)), 0) FROM {items})"  # noqa: S608
    exact = f"(SELECT coalesce(sum(octet_length(i.result::text)), 0) FROM {items})"  # noqa: S608
    built = f"CASE WHEN {exact} <= {MAX_RESULT_BYTES} THEN ({_BUILT % items}) END"
    return f"""CASE WHEN {step}.status <> 'COMPLETED' THEN NULL WHEN {step}.for_each IS NULL THEN {step}.result
               WHEN {stored} <= {MAX_RESULT_BYTES} THEN {built} END"""


FINAL_MAX_BYTES: Final = 2 * MAX_RESULT_BYTES + 10_000
"""The size of such a result, at most, as `result_bytes_of` estimates it."""


def result_bytes_of(step: str, bytes_of: str, own: str) -> str:
    """Return the SQL of the bytes of that result, at most. *own* are those of `result` itself, and *bytes_of* those of
    the column {0}. Texts and paths of items stand in the result twice.
    """
    size = bytes_of.format("i.result")
    total = f"100 + 2 * coalesce(sum({size}), 0) + 5 * count(*)"
    of_items = f"SELECT least({total}, 2000000000)::int FROM {_ITEMS.format(step)}"  # noqa: S608
    return f"CASE WHEN {step}.for_each IS NULL THEN {own} WHEN {step}.status = 'COMPLETED' THEN ({of_items}) ELSE 0 END"


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
        )
    )
    query = f"SELECT json_build_object('total', count(*), {counts}) FROM {_ITEMS.format(step)}"  # noqa: S608
    return f"CASE WHEN {step}.for_each IS NOT NULL AND {step}.flow ->> 'items' IS NOT NULL THEN ({query}) END"


# The COMPLETED items of a workflow's steps, each as a share of the items of its step, without those of steps that are
# done themselves.
ITEMS_DONE: Final = """(
    SELECT sum(each.share) FROM (
        SELECT (count(*) FILTER (WHERE i.status = 'COMPLETED'))::float8 / count(*) AS share
        FROM steps AS s JOIN step_items AS i ON i.workflow_id = s.workflow_id AND i.position = s.position
        WHERE s.workflow_id = workflows.id AND s.for_each IS NOT NULL
          AND s.status IN ('PENDING', 'RUNNING', 'CANCELLED', 'FAILED') AND NOT (s.status = 'FAILED' AND s.optional)
        GROUP BY s.position
    ) AS each
)"""
