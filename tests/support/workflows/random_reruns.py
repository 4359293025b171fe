"""Random definitions for a provider whose result depends on its inputs alone, and random edits of them."""

from copy import deepcopy
from random import Random
from typing import Any

Json = dict[str, Any]
PROVIDER = {"provider_type": "CUSTOM"}
WORDS = "xyz"
SUB_WORKFLOW = "SUBWORKFLOW"


def at_provider(step_id: str, prompt: str) -> Json:
    return {"id": step_id, "task_type": "GENERATION", "provider_config": PROVIDER, "config": {"prompt": prompt}}


def random_steps(random: Random) -> list[Json]:
    steps = list[Json]()
    for number in range(random.randint(1, 7)):
        steps.append(random_step(random, f"s{number}", [step for step in steps if "for_each" not in step]))
    return steps


def random_step(random: Random, step_id: str, earlier: list[Json]) -> Json:
    """Return a step behind some of the *earlier* ones, with up to one feature of flow control."""
    kind = random.random()
    prompt = random.choice([*WORDS, "${inputs.word}"])
    step = at_provider(step_id, prompt)
    if kind < 0.1:
        step = {"id": step_id, "task_type": "PASSTHROUGH", "config": {"text": random.choice(WORDS), "score": 1}}
    elif kind < 0.2:
        nested = [at_provider("in", "${inputs.of}"), at_provider("out", random.choice(WORDS))]
        nested[1]["input_mappings"] = [reading("in")]
        workflow = {"name": "nested", "steps": nested, "inputs": {"of": "x"}}
        return {"id": step_id, "task_type": SUB_WORKFLOW, "config": {"workflow": workflow, "inputs": {"of": prompt}}}
    elif kind < 0.35:
        items = [random.choice("abcd") for _ in range(random.randint(1, 5))]
        step["for_each"] = {"items": items, "as": "prompt", "max_concurrency": random.randint(1, 3)}
        step["config"] = {}
    elif kind < 0.45:
        step["repeat"] = {"until": "score > `0.5`", "max": random.randint(2, 3)}
    elif kind < 0.55:
        step |= {"optional": True, "config": {"prompt": "fails"}, "max_retries": 0}
    if kind > 0.9:
        step["reuse"] = False
    if earlier and random.random() < 0.7:
        add_source(random, step, earlier)
    return step


def add_source(random: Random, step: Json, earlier: list[Json]) -> None:
    """Let the step read a result, wait for one, or depend on a condition."""
    source, kind = random.choice(earlier), random.random()
    step["depends_on"] = [source["id"]]
    is_nested = source["task_type"] == SUB_WORKFLOW
    if kind < 0.5 and step["task_type"] == "GENERATION":
        step["input_mappings"] = [reading(source["id"], "final" if is_nested else "text")]
    elif kind < 0.75:
        step["when"] = f"{source['id']}.{'final.' if is_nested else ''}score > `{random.choice(['0.3', '0.7'])}`"
    elif kind < 0.9:
        step["run_if"] = "all_ended"


def reading(source: str, field: str = "text") -> Json:
    return {"from_step": source, "from_field": field, "to_field": "style"}


def edited(steps: list[Json], random: Random) -> list[Json]:
    """Return the steps with up to three changes."""
    steps = deepcopy(steps)
    for _ in range(random.randint(0, 3)):
        random.choice(EDITS)(steps, random.choice(steps), random)
    return steps


def change_config(_: list[Json], step: Json, random: Random) -> None:
    if step["task_type"] == SUB_WORKFLOW:
        step = random.choice(step["config"]["workflow"]["steps"])
    for name in step["config"].keys() & {"prompt", "text"}:
        step["config"][name] = random.choice(WORDS)


def swap_configs(steps: list[Json], step: Json, random: Random) -> None:
    other = random.choice(steps)
    if {step["task_type"], other["task_type"]} == {"GENERATION"} and "for_each" not in {**step, **other}:
        step["config"], other["config"] = other["config"], step["config"]


def add(steps: list[Json], _: Json, random: Random) -> None:
    steps.insert(random.randint(0, len(steps)), random_step(random, f"n{random.randrange(10_000)}", []))


def remove(steps: list[Json], step: Json, _: Random) -> None:
    if len(steps) > 1 and not any(step["id"] in other.get("depends_on", []) for other in steps):
        steps.remove(step)


def insert_item(_: list[Json], step: Json, random: Random) -> None:
    if "for_each" in step:
        items = step["for_each"]["items"]
        items.insert(random.randint(0, len(items)), random.choice("abcde"))


def change_flow(_: list[Json], step: Json, random: Random) -> None:
    if "repeat" in step:
        step["repeat"]["max"] = random.randint(2, 3)
    elif step["task_type"] != SUB_WORKFLOW:
        step["reuse"] = random.random() < 0.5


def rename(steps: list[Json], step: Json, _: Random) -> None:
    old = step["id"]
    new = step["id"] = f"r{len(steps)}{old}"
    for each in steps:
        each["depends_on"] = [new if name == old else name for name in each.get("depends_on", [])]
        for mapping in each.get("input_mappings", []):
            mapping["from_step"] = new if mapping["from_step"] == old else mapping["from_step"]
        if "when" in each:
            each["when"] = each["when"].replace(f"{old}.", f"{new}.")


EDITS = (change_config, swap_configs, add, remove, insert_item, change_flow, rename)
