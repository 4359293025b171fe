"""The large data URIs in a definition: in the inputs `*_url` and `*_urls` that Stepwell knows.

The configs of steps and `step_defaults` are searched, also in definitions of sub-workflows, so that these store each
file once. Other inputs pass through to providers as they are, and so do the `messages` of LLM_INTERACTION. A data URI
with an expression isn't known yet.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.definition import CreateWorkflow
from stepwell.contract.enums import TaskType
from stepwell.definition.mapping.input_mapping import EVERY_TYPE
from stepwell.definition.mapping.templates import OPENING, SUB_DEFINITION, SUB_REFERENCE
from stepwell.definition.validation.file_inputs import FILE_INPUTS, MESSAGES

LARGEST_INLINE: Final = 4_096
"""The characters of the longest data URI that stays in a definition."""

_SCHEME = "data:"
_NAMES: Mapping[str, tuple[str, ...]] = {
    task_type: tuple(name for name in names if name != MESSAGES) for task_type, names in FILE_INPUTS.items()
}
_ALL_NAMES = tuple(dict.fromkeys(name for names in _NAMES.values() for name in names))


class DataUriInput(NamedTuple):
    """The place of a large data URI: a member of an object or of a list of the definition, and its location."""

    holder: Any
    key: str | int
    loc: Loc

    @property
    def name(self) -> str:
        return str(next(part for part in reversed(self.loc) if isinstance(part, str)))

    @property
    def uri(self) -> str:
        uri: str = self.holder[self.key]
        return uri

    def replace(self, path: str) -> None:
        """Replace the data URI by the path of an artifact, in place."""
        self.holder[self.key] = path


def large_data_uris(request: CreateWorkflow) -> list[DataUriInput]:
    inputs: list[DataUriInput] = []
    for position, step in enumerate(request.steps):
        if step.config:
            inputs += _in_step(step.task_type, step.config, ("body", "steps", position, "config"))
    inputs += _in_defaults(request.config, ("body", "config"))
    return inputs


def _in_step(task_type: str, config: dict[str, Any], loc: Loc) -> Iterator[DataUriInput]:
    yield from _in_config(config, _NAMES[task_type], loc)
    definition = config.get(SUB_DEFINITION) if task_type == TaskType.SUBWORKFLOW else None
    if isinstance(definition, dict) and not config.get(SUB_REFERENCE):  # the content of a stored definition stays
        yield from _in_definition(definition, (*loc, SUB_DEFINITION))


def _in_definition(definition: dict[str, Any], loc: Loc) -> Iterator[DataUriInput]:
    """Yield those of the valid definition of a sub-workflow."""
    for position, step in enumerate(definition["steps"]):
        yield from _in_step(step["task_type"], step.get("config") or {}, (*loc, "steps", position, "config"))
    yield from _in_defaults(definition.get("config") or {}, (*loc, "config"))


def _in_defaults(config: dict[str, Any], loc: Loc) -> Iterator[DataUriInput]:
    defaults = config.get("step_defaults")
    for key, each in defaults.items() if isinstance(defaults, dict) else ():
        names = _ALL_NAMES if key == EVERY_TYPE else _NAMES[TaskType(key)]
        yield from _in_config(each or {}, names, (*loc, "step_defaults", key))


def _in_config(config: dict[str, Any], names: tuple[str, ...], loc: Loc) -> Iterator[DataUriInput]:
    for name in names:
        value = config.get(name)
        if isinstance(value, list):
            for index, each in enumerate(value):
                if _is_large(each):
                    yield DataUriInput(value, index, (*loc, name, index))
        elif _is_large(value):
            yield DataUriInput(config, name, (*loc, name))


def _is_large(value: Any) -> bool:
    if not isinstance(value, str) or len(value) <= LARGEST_INLINE or value[: len(_SCHEME)].lower() != _SCHEME:
        return False
    return OPENING not in value
