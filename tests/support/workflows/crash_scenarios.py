"""Small workflows of real pictures, each with the end that it must reach, however often its process is killed."""

from dataclasses import dataclass, field
from typing import Any

Step = dict[str, Any]
# One of them asks for an input on loopback, which the guard refuses by itself.
OPEN = {"STEPWELL_ALLOWED_CIDRS": "127.0.0.0/8"}
BROKEN_PICTURE = "data:image/png;base64,iVBORw0KGgo="


@dataclass(frozen=True)
class Scenario:
    """`attempts`: how many tasks each step must have at the end; 1 where it isn't named. `items`: how many each of its
    items must have. `statuses` and `members`: the end of a step, and the members of its result.
    """

    name: str
    steps: tuple[Step, ...]
    end: str = "COMPLETED"
    config: dict[str, Any] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    items: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    verbs: tuple[str, ...] = ()  # after create, each once
    inputs: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        members = {"config": self.config, "inputs": self.inputs}
        return {"name": self.name, "origin_instance": "crash", "steps": list(self.steps), **members}


def _picture(step_id: str, size: int = 96) -> Step:
    return {"id": step_id, "task_type": "GENERATION", "config": {"prompt": step_id, "width": size, "height": size}}


def _of(source: str, step_id: str, task_type: str, to_field: str = "base_image_url", **config: Any) -> Step:
    return {
        "id": step_id,
        "task_type": task_type,
        "depends_on": [source],
        "config": config,
        "input_mappings": [{"from_step": source, "from_field": "result_image_path", "to_field": to_field}],
    }


def _pipeline() -> Scenario:
    refine, adjust = (
        _of("draw", "refine", "REFINE", upscale_factor=2),
        _of("refine", "adjust", "IMAGE_ADJUSTER", exposure=0.5),
    )
    return Scenario("pipeline", (_picture("draw"), refine, adjust))


def _diamond() -> Scenario:
    """Its dependencies are implied, most of them by expressions."""
    image = "${draw.result_image_path}"
    cut = {"id": "cut", "task_type": "BACKGROUND_REMOVE", "config": {"base_image_url": image}}
    back = _of("draw", "back", "BACKGROUND_FIX", background_color="${inputs.colour}")
    overlay = _of("back", "join", "EDITING", overlay_image_url="${cut.result_image_path}", opacity="${inputs.opacity}")
    inputs = {"colour": "#204080", "opacity": 0.5}
    return Scenario("diamond", (_picture("draw"), cut, back, overlay), inputs=inputs)


def _fan() -> Scenario:
    branches = [_of("draw", f"branch {n}", "DETAIL_ENHANCER", strength=n / 10) for n in range(6)]
    join = {"id": "join", "task_type": "PASSTHROUGH", "depends_on": [step["id"] for step in branches]}
    return Scenario("fan", (_picture("draw", 64), *branches, join))


def _video() -> Scenario:
    return Scenario("video", (_picture("draw", 64), _of("draw", "film", "VIDEO_GENERATION", duration_s=1, fps=6)))


def _refusal_scenario() -> Scenario:
    broken = {"id": "broken", "task_type": "REFINE", "config": {"base_image_url": BROKEN_PICTURE}}
    return Scenario("refused", (broken, _picture("draw", 64)), end="FAILED")


def _retried() -> Scenario:
    """Nobody listens on port 9 of this machine; the two retries wait up to a second each."""
    away = {"id": "away", "task_type": "REFINE", "config": {"base_image_url": "http://127.0.0.1:9/picture.png"}}
    policy = {"base_s": 1, "factor": 1, "max_s": 1}
    return Scenario("retried", ({**away, "max_retries": 2},), "FAILED", {"retry": policy}, {"away": 3})


def _cancelled() -> Scenario:
    return Scenario("cancelled", (_picture("draw", 512),), end="CANCELLED", verbs=("cancel",))


def _paused() -> Scenario:
    return Scenario("paused", _pipeline().steps, verbs=("pause", "resume"))


def _optional() -> Scenario:
    """One of two pictures fails, and what depends on both follows its `run_if`."""
    broken = {"id": "broken", "task_type": "REFINE", "config": {"base_image_url": BROKEN_PICTURE}, "optional": True}
    skipped = {"id": "skipped", "task_type": "PASSTHROUGH", "depends_on": ["broken", "draw"]}
    behind = {"id": "behind", "task_type": "PASSTHROUGH", "depends_on": ["skipped"], "run_if": "all_ended"}
    join = {
        "id": "join",
        "task_type": "PASSTHROUGH",
        "run_if": "any_completed",
        "input_mappings": [
            {"from_step": step, "from_field": "result_image_path", "to_field": step} for step in ("broken", "draw")
        ],
    }
    ends = {"broken": "FAILED", "skipped": "SKIPPED", "behind": "COMPLETED", "join": "COMPLETED"}
    steps = (broken, _picture("draw"), skipped, behind, join)
    return Scenario("optional", steps, statuses=ends, members={"join": {"draw"}})


def _conditional() -> Scenario:
    """Conditions about a picture: one is evaluated in a child process, and is open for a while."""
    wide = "length(inputs.numbers[?@ >= `0`]) == `3000` && draw.width == `96`"
    conditions = {"wide": wide, "narrow": "draw.width < `96`", "other": "wide.width == `96` && !narrow"}
    steps = [
        {"id": step_id, "task_type": "PASSTHROUGH", "config": {"width": "${draw.width}"}, "when": condition}
        for step_id, condition in conditions.items()
    ]
    behind = {"id": "behind", "task_type": "PASSTHROUGH", "depends_on": ["narrow"]}
    ends = {"wide": "COMPLETED", "narrow": "SKIPPED", "other": "COMPLETED", "behind": "SKIPPED"}
    steps[-1]["run_if"] = "all_ended"
    inputs = {"numbers": list(range(3_000))}
    return Scenario("conditional", (_picture("draw"), *steps, behind), statuses=ends, inputs=inputs)


def _delayed() -> Scenario:
    """A wait between two attempts, which goes on while no process runs."""
    wait = {"id": "wait", "task_type": "DELAY", "config": {"seconds": 1}, "depends_on": ["draw"]}
    refine = _of("draw", "refine", "REFINE", upscale_factor=2)
    refine["depends_on"] = ["draw", "wait"]
    return Scenario("delayed", (_picture("draw"), wait, refine), attempts={"wait": 0}, members={"wait": {"until"}})


def _repeated() -> Scenario:
    """Three runs of a picture: none is good enough, and the last one is the best."""
    draw = _picture("draw") | {"repeat": {"until": "seed == `8`", "max": 3, "best": "seed"}}
    draw["config"]["seed"] = 5
    last = {"id": "last", "task_type": "PASSTHROUGH", "when": "draw.seed == `7`"}
    return Scenario("repeated", (draw, last), attempts={"draw": 3}, statuses={"last": "COMPLETED"})


def _items() -> Scenario:
    """100 items: some have pictures, some need retries that don't help, and most fail for good."""
    away = "http://127.0.0.1:9/picture.png"
    items = ["${draw.result_image_path}", *[BROKEN_PICTURE] * 9, away, *[BROKEN_PICTURE] * 14] * 4
    for_each = {"items": items, "as": "base_image_url", "max_concurrency": 20, "on_item_failure": "collect"}
    refine = {"id": "refine", "task_type": "REFINE", "for_each": for_each, "max_retries": 1}
    count = {"id": "count", "task_type": "PASSTHROUGH", "when": "refine.failed == `96` && refine.items[75].width"}
    attempts = [1 + (item == away) for item in items]
    return Scenario(
        "items",
        (_picture("draw", 64), refine, count),
        config={"retry": {"base_s": 0.2, "max_s": 0.2}},
        items={"refine": attempts},
        statuses={"count": "COMPLETED"},
        members={"refine": {"items", "count", "failed", "result_image_paths"}},
    )


SCENARIOS = (
    _pipeline(),
    _diamond(),
    _fan(),
    _video(),
    _refusal_scenario(),
    _retried(),
    _cancelled(),
    _paused(),
    _optional(),
    _conditional(),
    _delayed(),
    _repeated(),
    _items(),
)
