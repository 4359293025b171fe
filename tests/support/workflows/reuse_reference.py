"""A reference of what runs take over: a few rules over whole definitions and results, and nothing of the engine.

A unit is a step or an item at a provider. Its work is everything that the provider gets. The results of a run are given
out once each: first to the same step and item, then in the order of the earlier run to the units in their order.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]
Name = tuple[str, int | None]  # of a step, or of an item of it


class Unit(NamedTuple):
    """A COMPLETED unit. `always` runs in any case."""

    name: Name
    work: str
    always: bool


class Outcome(NamedTuple):
    """What became of a run: the statuses and the results of its steps."""

    statuses: Mapping[str, str]
    results: Mapping[str, Any]


def outcome_of(workflow: Json) -> Outcome:
    """Return the outcome of a workflow as the API returns it."""
    steps = workflow["steps"]
    return Outcome(
        {step["step_id"]: step["status"] for step in steps}, {step["step_id"]: step["result"] for step in steps}
    )


def units_of(steps: Iterable[Json], inputs: Json, outcome: Outcome) -> list[Unit]:
    """Return the units of a run of *steps* that were COMPLETED, in the order of the definition."""
    found = list[Unit]()
    for step in steps:
        if "provider_config" not in step or outcome.statuses[step["id"]] != "COMPLETED":
            continue
        always = step.get("reuse") is False
        if "for_each" not in step:
            found.append(Unit((step["id"], None), work_of(step, inputs, outcome.results), always))
        for number, item in enumerate(items_of(step, outcome.results)):
            work = work_of(step, inputs, outcome.results, {step["for_each"]["as"]: item})
            found.append(Unit((step["id"], number), work, always))
    return found


def items_of(step: Json, results: Mapping[str, Any]) -> list[Any]:
    if "for_each" not in step:
        return []
    items = step["for_each"]["items"]
    if isinstance(items, str):
        source, field = items.removeprefix("${").removesuffix("}").split(".")
        items = results[source][field]
    return list(items)


def work_of(step: Json, inputs: Json, results: Mapping[str, Any], item: Json | None = None) -> str:
    """Return what the provider gets for the step, and how often the step repeats."""
    values = {name: _rendered(value, inputs) for name, value in step["config"].items()} | (item or {})
    for mapping in step.get("input_mappings", []):
        values[mapping["to_field"]] = results[mapping["from_step"]][mapping["from_field"]]
    provider = {name: value for name, value in step["provider_config"].items() if name != "credential"}
    return json.dumps([step["task_type"], provider, values, step.get("repeat")], sort_keys=True)


def _rendered(value: Any, inputs: Json) -> Any:
    if isinstance(value, str) and value.startswith("${inputs."):
        return inputs[value.removeprefix("${inputs.").removesuffix("}")]
    return value


def taken(earlier: Sequence[Unit], units: Sequence[Unit]) -> dict[Name, Name]:
    """Return the results of the *earlier* run that the *units* of a new one take, by the names of the units."""
    free, found = {unit.name: unit.work for unit in earlier}, dict[Name, Name]()
    rules: list[Callable[[Unit, Name], bool]] = [lambda unit, name: unit.name == name, lambda _unit, _name: True]
    for may_take in rules:
        for unit in units:
            candidates = [name for name, work in free.items() if work == unit.work and may_take(unit, name)]
            if candidates and unit.name not in found and not unit.always:
                found[unit.name] = candidates[0]
                del free[candidates[0]]
    return found
