"""The steps of a definition that is being built, and their inputs.

The output of a step is a value. If it is used as an input of another step, it becomes a mapping, and so a dependency.
An `Expression` is evaluated when the step runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeAlias, TypedDict

from stepwell.contract.enums import ProviderType, RunIf, TaskType, TransformType
from stepwell.contract.files import ArtifactPublic


class BuiltDefinition(ABC):
    """A definition that is being built."""

    @abstractmethod
    def nested_definition(self) -> dict[str, Any]:
        """Return the definition as that of a sub-workflow, which has the origin of its parent."""


class BuiltStep:
    """A step of a workflow that is being built. `output` returns one of its outputs as a value."""

    def __init__(self, step_id: str, workflow: BuiltDefinition) -> None:
        self.id, self.workflow = step_id, workflow

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def output(self, field: str, transform: TransformType | str | None = None) -> StepValue:
        """Return the output at *field*, which is the name of a field of the result or a JMESPath expression."""
        return StepValue(self, field, transform)


class StepValue:
    """An output of a step, for the inputs of other steps."""

    def __init__(self, step: BuiltStep, field: str, transform: TransformType | str | None = None) -> None:
        self.step, self.field = step, field
        self.transform = None if transform is None else TransformType(transform)

    def __repr__(self) -> str:
        return f"StepValue({self.step.id!r}, {self.field!r}, {self.transform!r})"

    def __format__(self, _spec: str) -> str:
        raise TypeError(f"{self!r} can't be part of a text: pass it as an input, or write an Expression")

    def transformed(self, transform: TransformType | str) -> Self:
        """Return this output with a transform."""
        return type(self)(self.step, self.field, transform)


class Expression:
    """A JMESPath expression over results, `inputs` and `workflow`, as an input of a step or a part of one.

    `str` of it is the text for a definition: `${…}`. Raises ValueError if *text* has that form already.
    """

    def __init__(self, text: str) -> None:
        if text.lstrip().startswith("${"):
            raise ValueError(f"{text!r}: write an Expression without ${{ and }}")
        self.text = text

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __str__(self) -> str:
        return f"${{{self.text}}}"


# An input that is known when the step runs.
Value: TypeAlias = StepValue | Expression


class ImageStep(BuiltStep):
    """A step whose result is an image, or several."""

    @property
    def image(self) -> StepValue:
        """The path of the image, or of the first one."""
        return self.output("result_image_path")

    @property
    def images(self) -> StepValue:
        """The paths of all images, if there are several."""
        return self.output("result_image_paths")


class VideoStep(BuiltStep):
    """A step whose result is a video."""

    @property
    def video(self) -> StepValue:
        """The path of the video."""
        return self.output("result_video_path")


class TextStep(BuiltStep):
    """A step whose result is text."""

    @property
    def text(self) -> StepValue:
        return self.output("result_text")

    @property
    def json(self) -> StepValue:
        """The text as JSON, if the step has a `json_schema`."""
        return self.output("result_json")


# A file as an input: the path of an artifact, a URL, a data URI, an upload, or an image or video of another step.
File: TypeAlias = str | ArtifactPublic | Value
Files: TypeAlias = Sequence[str | ArtifactPublic | Value] | Value


# The definition of a sub-workflow.
Definition: TypeAlias = Mapping[str, Any] | BuiltDefinition


class StepOptions(TypedDict, total=False):
    """The options of steps of every type.

    `id` is the step's id; by default it is made of the type. `config` has further members for the provider. `after`
    are steps that it waits for, and `run_if` says how they must have ended, so that it runs. `when` is its condition: a
    JMESPath expression; the step is skipped unless its value is true. `for_each` runs the step once for each item:
    `{"items": ["red", "blue"]}` or `{"items": draw.images}`, and the texts of `config` read the item as `${item}`.
    `repeat` runs the step again until its result is good enough: `{"until": …, "max": 3, "best": …}`. `optional`: the
    workflow goes on if the step fails. `provider`, `provider_config` and `capabilities` say who does the work, and the
    `fallback_` ones who does it when the attempts there are used up.
    """

    id: str
    config: Mapping[str, Any]
    after: Iterable[BuiltStep | str]
    run_if: RunIf | str
    when: str
    for_each: Mapping[str, Any]
    repeat: Mapping[str, Any]
    optional: bool
    reuse: bool
    timeout_s: float
    max_retries: int
    provider: ProviderType | str
    provider_config: Mapping[str, Any]
    capabilities: Sequence[str]
    fallback_provider: ProviderType | str
    fallback_config: Mapping[str, Any]
    fallback_capabilities: Sequence[str]


class StepList:
    """The steps of *workflow*, a definition that is being built."""

    def __init__(self, workflow: BuiltDefinition) -> None:
        self._workflow = workflow
        self._steps: dict[str, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def definitions(self) -> list[dict[str, Any]]:
        """Return the steps, as the API takes them."""
        return [dict(step) for step in self._steps.values()]

    def add(self, task_type: TaskType | str, config: Mapping[str, Any], options: StepOptions) -> str:
        """Add a step, and return its id."""
        unknown = options.keys() - StepOptions.__annotations__.keys()
        if unknown:
            raise TypeError(
                f"{task_type} takes no {', '.join(sorted(unknown))}: members that the provider knows are in config"
            )
        step_id = self._new_id(str(task_type), options.get("id"))
        inputs = {**config, **options.get("config", {})}
        if "timeout_s" in options:
            inputs["timeout_s"] = options["timeout_s"]
        mappings: list[dict[str, Any]] = []
        provider_config = without_uploads(options.get("provider_config", {}), "provider_config", evaluated=False)
        fallback_config = without_uploads(options.get("fallback_config"), "fallback_config", evaluated=False)
        if "provider" in options:
            provider_config["provider_type"] = str(options["provider"])
        step = {
            "id": step_id,
            "task_type": str(task_type),
            "config": self._split(without_none(inputs), "", mappings),
            "depends_on": [self._id_of(each) for each in options.get("after", ())],
            "input_mappings": mappings,
            "when": options.get("when"),
            "for_each": self._for_each(options.get("for_each")),
            "repeat": options.get("repeat"),
            "run_if": None if "run_if" not in options else str(options["run_if"]),
            "optional": options.get("optional"),
            "reuse": options.get("reuse"),
            "max_retries": options.get("max_retries"),
            "provider_config": provider_config,
            "active_provider_capabilities": options.get("capabilities"),
            "fallback_provider_type": options.get("fallback_provider"),
            "fallback_provider_config": fallback_config,
            "fallback_provider_capabilities": options.get("fallback_capabilities"),
        }
        self._steps[step_id] = {key: value for key, value in step.items() if value not in (None, [], {})}
        return step_id

    def _new_id(self, task_type: str, requested_id: str | None) -> str:
        if requested_id is not None:
            if requested_id in self._steps:
                raise ValueError(f"the workflow has a step {requested_id!r} already")
            return requested_id
        base = new_id = task_type.lower()
        count = 1
        while new_id in self._steps:
            count += 1
            new_id = f"{base}_{count}"
        return new_id

    def _id_of(self, step: BuiltStep | str) -> str:
        if isinstance(step, BuiltStep) and step.workflow is not self._workflow:
            raise ValueError(f"step {step.id!r} belongs to another workflow")
        return step.id if isinstance(step, BuiltStep) else step

    def _split(self, members: Mapping[str, Any], place: str, mappings: list[dict[str, Any]]) -> dict[str, Any]:
        """Return *members* without the outputs of steps, which become *mappings*. *place* is where they belong."""
        plain: dict[str, Any] = {}
        for name, value in members.items():
            target = f"{place}{name}"
            if isinstance(value, StepValue):
                if place and "." in name:
                    raise ValueError(f"{target}: the name of a member that is an output of a step has no dot")
                mappings.append(self._mapping(value, target, value.transform))
            elif isinstance(value, list | tuple) and any(isinstance(each, StepValue) for each in value):
                if len(value) != 1 or value[0].transform is not None:
                    raise ValueError(
                        f"{target}: a list can't hold outputs of steps beside others, or with a transform. Join them "
                        "in a step, or pass one output that is a list"
                    )
                mappings.append(self._mapping(value[0], target, TransformType.TO_LIST))
            elif isinstance(value, BuiltDefinition):
                plain[name] = value.nested_definition()
            elif isinstance(value, Mapping):
                plain[name] = self._split(value, f"{target}.", mappings)
            else:
                plain[name] = without_uploads(value, target)
        return plain

    def _for_each(self, for_each: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return *for_each* as the API takes it. Its items may be an output of a step."""
        if for_each is None:
            return None
        members = dict(for_each)
        if isinstance(items := members.get("items"), StepValue):
            del members["items"]
            members |= self._mapping(items, "", items.transform)
            del members["to_field"]
        encoded: dict[str, Any] = without_uploads(members, "for_each")
        return encoded

    def _mapping(self, value: StepValue, target: str, transform: TransformType | None) -> dict[str, Any]:
        mapping = {"from_step": self._id_of(value.step), "from_field": value.field, "to_field": target}
        return mapping if transform is None else mapping | {"transform": str(transform)}


def without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def without_uploads(value: Any, place: str, *, evaluated: bool = True) -> Any:
    """Return *value* with the paths of uploads instead of the uploads, and with expressions as texts.

    Raises TypeError for an output of a step, and for an expression that wouldn't be *evaluated* there.
    """
    if isinstance(value, StepValue):
        raise TypeError(
            f"{place}: an output of a step can't stand in a list: pass it as a member, or write an Expression"
        )
    if isinstance(value, list | tuple):
        return [without_uploads(each, place, evaluated=evaluated) for each in value]
    if isinstance(value, Mapping):
        return {name: without_uploads(each, place, evaluated=evaluated) for name, each in value.items()}
    if isinstance(value, Expression):
        if not evaluated:
            raise TypeError(f"{place}: {value!r} isn't evaluated there: only an input of a step can be an expression")
        return str(value)
    return value.path if isinstance(value, ArtifactPublic) else value
