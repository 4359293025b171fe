"""Sub-workflows whose steps name a stored definition: `config.definition` in place of `config.workflow`.

What must hold:
- A definition is resolved as a whole when its root is created or when it is stored: each name, at any depth, becomes a
  version, which never changes.
- For all rules, a step that names a definition is one that has its content in `config.workflow`. The content stands
  there only while the definition is validated. Rows have the reference, and the root has each content once.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from msgspec import Struct, json, structs

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.definition import CreateWorkflow, DefinitionReference
from stepwell.contract.enums import TaskType
from stepwell.definition.mapping.templates import SUB_DEFINITION, SUB_REFERENCE
from stepwell.definition.validation.sub_workflow_rules import MAX_DEPTH, reference_of, too_deep
from stepwell.definition.validation.workflow import MAX_STEPS, too_many_steps

MAX_NAMED: Final = 100
"""The most stored definitions that one definition names, at all depths."""
MAX_NAMED_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of their contents, each counted as often as it is named."""

_Change: TypeAlias = Callable[[dict[str, Any], DefinitionReference], dict[str, Any]]
Load: TypeAlias = Callable[[DefinitionReference, Loc], Awaitable[tuple[DefinitionReference, bytes]]]
"""Returns the version that a reference at a place means, and its content. Raises `InvalidRequest`."""


class NamedContent(Struct, frozen=True):
    """A version of a stored definition in a definition.

    `stored` is its content, in which each reference has a version. `whole` also has the contents of these. `steps` and
    `size`, in bytes, count them, too. `height` is the number of levels of definitions in it, itself included.
    """

    reference: DefinitionReference
    stored: dict[str, Any]
    whole: dict[str, Any]
    steps: int
    size: int
    height: int


class NamedDefinitions(Struct, frozen=True):
    """The stored definitions that a definition names, by their references, at any depth.

    `size` is that of their contents in bytes, each counted as often as it is named.
    """

    contents: Mapping[DefinitionReference, NamedContent] = {}
    size: int = 0

    def whole(self, body: Any) -> Any:
        """Return *body* with the content beside each reference."""
        return _with_references(body, self._with_content) if self.contents else body

    def stored(self, body: Any) -> Any:
        """Return *body* with a version in each reference."""
        return _with_references(body, self._with_version) if self.contents else body

    def encode(self) -> bytes | None:
        """Return the contents as a JSON object, by `str` of their references; None if there are none."""
        by_version = {str(each.reference): each.stored for each in self.contents.values()}
        return json.encode(by_version) if by_version else None

    def _with_version(self, config: dict[str, Any], reference: DefinitionReference) -> dict[str, Any]:
        return {**config, SUB_REFERENCE: structs.asdict(self.contents[reference].reference)}

    def _with_content(self, config: dict[str, Any], reference: DefinitionReference) -> dict[str, Any]:
        return {**self._with_version(config, reference), SUB_DEFINITION: self.contents[reference].whole}


def references_in(body: Any, loc: Loc = ("body",)) -> Iterator[tuple[Loc, DefinitionReference]]:
    """Yield the references in *body* with their places, also of the definitions that stand in it.

    Raises `InvalidRequest` for a step that has both a definition and a reference.
    """
    for position, step in enumerate(_steps(body)):
        config, below = _config(step), (*loc, "steps", position, "config")
        if (reference := reference_of(config)) is not None:
            if config.get(SUB_DEFINITION) is not None:
                message = "A SUBWORKFLOW has either a workflow, or the definition of a stored one"
                raise InvalidRequest([Fault((*below, SUB_DEFINITION), message, "conflict")])
            yield (*below, SUB_REFERENCE), reference
        elif SUB_DEFINITION in config:
            yield from references_in(config[SUB_DEFINITION], (*below, SUB_DEFINITION))


NO_NAMED: Final = NamedDefinitions()


async def resolve(
    references: Iterable[tuple[Loc, DefinitionReference]], load: Load, above: tuple[str, ...] = ()
) -> NamedDefinitions:
    """Return the stored definitions of *references*. *above* are the names of those that contain these.

    Raises `InvalidRequest` for the first name, at any depth, that can't be resolved, and for too many of them.
    """
    contents: dict[DefinitionReference, NamedContent] = {}
    steps = size = 0
    for loc, reference in references:
        found = await _resolve(reference, loc, above, contents, load)
        steps, size = steps + found.steps, size + found.size
        if steps > MAX_STEPS:
            raise InvalidRequest([too_many_steps()])
        if size > MAX_NAMED_BYTES:
            message = f"Stored definitions have over {MAX_NAMED_BYTES:,} bytes, each counted as often as it is named"
            raise InvalidRequest([Fault(loc, message, "too_large")])
    return NamedDefinitions(contents, size)


async def _resolve(
    wanted: DefinitionReference,
    loc: Loc,
    above: tuple[str, ...],
    contents: dict[DefinitionReference, NamedContent],
    load: Load,
) -> NamedContent:
    if wanted.name in above:
        path = " → ".join((*above[above.index(wanted.name) :], wanted.name))
        raise InvalidRequest([Fault((*loc, "name"), f"A definition can't contain itself: {path}", "cycle")])
    height = contents[wanted].height if wanted in contents else 1
    if len(above) + height > MAX_DEPTH + 1:
        raise InvalidRequest([too_deep(loc)])
    if wanted in contents:
        return contents[wanted]
    if len(contents) == MAX_NAMED:
        raise InvalidRequest([Fault(loc, f"Expected at most {MAX_NAMED} stored definitions in one", "too_many")])
    reference, text = await load(wanted, loc)
    content: dict[str, Any] = {"name": reference.name, **json.decode(text)}
    below = [
        await _resolve(inner, (*loc, *place[1:]), (*above, wanted.name), contents, load)
        for place, inner in references_in(content)
    ]
    named = NamedDefinitions(contents)
    found = NamedContent(
        reference,
        named.stored(content),
        named.whole(content),
        len(_steps(content)) + sum(each.steps for each in below),
        len(text) + sum(each.size for each in below),
        1 + max((each.height for each in below), default=0),
    )
    if len(above) + found.height > MAX_DEPTH + 1:
        raise InvalidRequest([too_deep(loc)])
    contents[wanted] = found
    return found


def without_contents(request: CreateWorkflow) -> CreateWorkflow:
    """Return *request* with references alone, as rows have it."""
    steps = [
        structs.replace(step, config=_stripped(step.config)) if step.task_type is TaskType.SUBWORKFLOW else step
        for step in request.steps
    ]
    return structs.replace(request, steps=steps)


def with_copies(body: Any, copies: Mapping[str, Any]) -> Any:
    """Return *body* with the content of *copies*, by `str` of its reference, in place of each reference to one."""

    def change(config: dict[str, Any], reference: DefinitionReference) -> dict[str, Any]:
        if (copy := copies.get(str(reference))) is None:
            return config
        own = {name: value for name, value in config.items() if name != SUB_REFERENCE}
        return {**own, SUB_DEFINITION: with_copies(copy, copies)}

    return _with_references(body, change)


def _stripped(config: dict[str, Any]) -> dict[str, Any]:
    if SUB_REFERENCE in config:
        return {name: value for name, value in config.items() if name != SUB_DEFINITION}
    return {**config, SUB_DEFINITION: _with_references(config.get(SUB_DEFINITION), lambda each, _: _stripped(each))}


def _with_references(body: Any, change: _Change) -> Any:
    """Return *body* with the changed configs of all steps that name a definition. It isn't changed itself."""
    steps = _steps(body)
    changed = [_with_reference(step, change) for step in steps]
    return body if all(map(lambda old, new: old is new, steps, changed)) else {**body, "steps": changed}


def _with_reference(step: Any, change: _Change) -> Any:
    config = _config(step)
    if (reference := reference_of(config)) is not None:
        return {**step, "config": change(config, reference)}
    below = config.get(SUB_DEFINITION)
    if (inner := _with_references(below, change)) is below:
        return step
    return {**step, "config": {**config, SUB_DEFINITION: inner}}


def _steps(body: Any) -> list[Any]:
    steps = body.get("steps") if isinstance(body, dict) else None
    return steps if isinstance(steps, list) else []


def _config(step: Any) -> dict[str, Any]:
    """Return the config of a SUBWORKFLOW; {} for any other step."""
    config = step.get("config") if isinstance(step, dict) and step.get("task_type") == TaskType.SUBWORKFLOW else None
    return config if isinstance(config, dict) else {}
