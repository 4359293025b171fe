"""The defaults with which the config of each step is examined."""

from typing import Any

from stepwell.contract.enums import TaskType
from stepwell.definition.validation.step_rules import known_defaults


def test_a_step_is_examined_with_the_known_members_of_its_defaults_alone() -> None:
    others = {f"other{number}": number for number in range(1_000)}
    defaults: dict[str, dict[str, Any]] = {
        "*": {"width": 64, "base_image_url": "a", **others},
        "GENERATION": {"prompt": "p", **others},
        "REFINE": {"prompt": "q"},
    }
    assert known_defaults(defaults, TaskType.GENERATION) == {"*": {"width": 64}, "GENERATION": {"prompt": "p"}}
    assert known_defaults(defaults, TaskType.REFINE) == {"*": {"base_image_url": "a"}, "REFINE": {"prompt": "q"}}
